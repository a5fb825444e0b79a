// Between spec.c and spec_check.c only.
#pragma once

#include "core/command.h"

typedef Viam__App__Mltraining__V1__SubmitTrainingJobRequest Managed;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Custom;
typedef Trainyard__V1__JobOptions Options;
// What protobuf-c makes of every map<string, string>.
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry Entry;

// The entries of a map in canonical form: sorted by key, one of each key (the last that came), no unknown fields.
// The texts are borrowed.
struct ty_entries {
    Entry *items;
    Entry **list; // to the items, as messages hold them
    size_t count;
};
// descriptor: of the entries to make.
void ty_entries_init(struct ty_entries *entries, Entry *const *from, size_t count,
                     const ProtobufCMessageDescriptor *descriptor);
void ty_entries_done(struct ty_entries *entries);

// Each fills err with TY_EINVALID and a message fit for clients. catalog NULL: what it would be asked is not checked, and
// trainer and container come as NULL.
int ty_spec_check_managed(const struct ty_catalog *catalog, const Managed *request, const struct ty_trainer **ret_trainer,
                          struct ty_err *err) TY_MUST_USE;
// arguments: the request's, canonical.
int ty_spec_check_custom(const struct ty_catalog *catalog, const Custom *request, const struct ty_entries *arguments,
                         const struct ty_container **ret_container, struct ty_err *err) TY_MUST_USE;
int ty_spec_check_tags(const Managed *request, struct ty_err *err) TY_MUST_USE;
int ty_spec_check_arguments(const struct ty_entries *arguments, struct ty_err *err) TY_MUST_USE;
int ty_spec_check_options(const Options *options, const struct ty_entries *labels, struct ty_err *err) TY_MUST_USE;
