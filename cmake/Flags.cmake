# Compiler flags of our own code (target ty_flags) and of generated code (ty_flags_generated).
add_library(ty_flags_generated INTERFACE)
add_library(ty_flags INTERFACE)
target_link_libraries(ty_flags INTERFACE ty_flags_generated)

target_compile_definitions(ty_flags_generated INTERFACE _GNU_SOURCE)
target_compile_options(ty_flags_generated INTERFACE -fvisibility=hidden -fPIC -fno-strict-aliasing)
target_compile_options(ty_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wundef)
if(TY_WERROR)
    target_compile_options(ty_flags INTERFACE -Werror)
endif()

if(TRAINYARD_SEED_DEFECTS)
    target_compile_definitions(ty_flags INTERFACE TY_SEED_DEFECTS)
endif()
if(TY_SANITIZE)
    target_compile_options(ty_flags_generated INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(ty_flags_generated INTERFACE -fsanitize=address,undefined)
endif()
if(TY_FUZZ)
    target_compile_options(ty_flags_generated INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
    target_link_options(ty_flags_generated INTERFACE -fsanitize=address,undefined)
endif()

set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(ty_flags_generated INTERFACE
        -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fcf-protection)
    target_link_options(ty_flags_generated INTERFACE -Wl,-z,relro,-z,now)
endif()
