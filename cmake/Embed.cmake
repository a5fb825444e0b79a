# ty_embed(TARGET out.c SYMBOL name FILES a b ...): a C source with the bytes of the files, one after the other,
# as `const unsigned char SYMBOL[]` (NUL-terminated, the NUL not counted) and `const size_t SYMBOL_len`.
function(ty_embed OUT)
    cmake_parse_arguments(E "" "SYMBOL" "FILES" ${ARGN})
    add_custom_command(
        OUTPUT ${OUT}
        COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/embed.py ${E_SYMBOL} ${OUT} ${E_FILES}
        DEPENDS ${E_FILES} ${PROJECT_SOURCE_DIR}/cmake/embed.py
        VERBATIM)
endfunction()
