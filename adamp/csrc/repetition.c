/* A step of the same tensors as the last one, in one call. Whether all that the tables rest on still holds is seen from
 * Python's own objects: groups and states by identity, tensors through the function that torch publishes in DLPack's
 * exchange table. A small model's step would otherwise be mostly Python.
 *
 * Functions of the interpreter and of torch come as pointers, so that nothing is linked and no header is needed. The
 * caller holds the interpreter's lock. */
#include <string.h>

#include "engine.h"

enum { MAX_DIMS = 6, MAX_STATES = 3, ON_CPU = 1, IS_FLOAT = 2 /* DLPack's codes */ };

/* FAILED: a Python exception is set. But for NO_MEMORY, and for STEPPED of adamp_repeat, nothing was changed. */
enum answer { STEPPED = 0, HOLDS = 0, CHANGED = 1, OTHER_SETTINGS = 2, NO_MEMORY = 3, FAILED = -1 };

/* DLTensor, major version 1 of DLPack. */
struct described {
    char *data;
    int32_t device_type, device_id, n_dims;
    uint8_t code, bits;
    uint16_t lanes;
    const int64_t *shape, *strides;
    uint64_t byte_offset;
};

struct interpreter {
    ptrdiff_t (*list_size)(void *list);
    void *(*list_item)(void *list, ptrdiff_t i);                                  /* PyList_GetItem: borrowed */
    int (*dict_next)(void *dict, ptrdiff_t *place, void **key, void **value);     /* PyDict_Next: borrowed */
    void *(*dict_item)(void *dict, void *key);                                    /* PyDict_GetItemWithError: borrowed */
    void *(*attribute)(void *object, void *name);                                 /* the rest: references of our own */
    void *(*call)(void *function, void *argument);
    void *(*type_of)(void *object);
    void (*release)(void *object);
    void *(*unlock)(void);
    void (*lock)(void *thread);
    int (*describe)(void *tensor, struct described *to); /* dltensor_from_py_object_no_sync: shape etc. are the tensor's */
    void *none, *yes, *grad, *tensor_type, *is_neg, *increment_version;
};

/* A parameter and its state as they were when they were noted; Python keeps these objects alive. */
struct address {
    void *weight, *states[MAX_STATES];
    void *grad; /* while a step runs */
    char *data, *state_data[MAX_STATES];
    int64_t shape[MAX_DIMS], strides[MAX_DIMS];
    int32_t n_dims, has_grad;
    uint8_t code, bits, state_bits;
};

struct group {
    void *params; /* Python's list */
    struct context *context;
    struct tensor *rows; /* of the parameters that have a gradient */
    const struct hyper *hyper;
    struct address *addresses;
    int64_t n_params, n_rows, n_states;
};

/* Objects in the order of a walk through dicts. */
struct walk {
    void **objects;
    int64_t room;
};

struct repetition {
    const struct interpreter *python;
    struct group *groups;
    int64_t n_groups;
    struct walk settings, states;
    void *weights; /* Python's list of the parameters that have a gradient */
    parallel_function *parallel;
    int32_t isa;
};

/* ---- objects ---- */

struct walker {
    const struct interpreter *python;
    const struct walk *walk;
    int64_t n;
    int is_first; /* notes what it meets; later ones compare */
};

static int meets(struct walker *w, void *object)
{
    if (w->n >= w->walk->room)
        return 0;
    if (w->is_first)
        w->walk->objects[w->n] = object;
    return w->walk->objects[w->n++] == object;
}

/* The entries of a dict and, so that fewer of them show, the dict. */
static int meets_entries(struct walker *w, void *dict)
{
    ptrdiff_t place = 0;
    void *key, *value;
    while (w->python->dict_next(dict, &place, &key, &value))
        if (!meets(w, key) || !meets(w, value))
            return 0;
    return meets(w, dict);
}

static int meets_settings(struct walker *w, void *groups, int64_t n_groups)
{
    if (w->python->list_size(groups) != n_groups)
        return 0;
    for (int64_t i = 0; i < n_groups; i++) {
        void *group = w->python->list_item(groups, i);
        if (!meets(w, group) || !meets_entries(w, group))
            return 0;
    }
    return 1;
}

static int meets_states(struct walker *w, void *state)
{
    ptrdiff_t place = 0;
    void *param, *entries;
    while (w->python->dict_next(state, &place, &param, &entries))
        if (!meets(w, param) || !meets(w, entries) || !meets_entries(w, entries))
            return 0;
    return meets(w, state);
}

static int are_settings_met(const struct repetition *r, void *groups, int is_first)
{
    struct walker walker = {.python = r->python, .walk = &r->settings, .is_first = is_first};
    return meets_settings(&walker, groups, r->n_groups);
}

static int are_states_met(const struct repetition *r, void *state, int is_first)
{
    struct walker walker = {.python = r->python, .walk = &r->states, .is_first = is_first};
    return meets_states(&walker, state);
}

/* ---- tensors ---- */

static char *data_of(const struct described *d) { return d->data + d->byte_offset; }

/* Of the same shape and order in memory as the weight; strides of dimensions of size 1 say nothing. */
static int lies_like(const struct described *d, const struct address *a, uint8_t code, uint8_t bits)
{
    int is_like = d->n_dims == a->n_dims && d->code == code && d->bits == bits && d->lanes == 1 &&
                  d->device_type == ON_CPU;
    for (int i = 0; is_like && i < a->n_dims; i++)
        is_like = d->shape[i] == a->shape[i] && (d->strides[i] == a->strides[i] || a->shape[i] == 1);
    return is_like;
}

static int is_step_count(const struct described *d)
{
    int64_t n = 1;
    for (int i = 0; i < d->n_dims; i++)
        n *= d->shape[i];
    return n == 1 && d->code == IS_FLOAT && d->bits == 32 && d->device_type == ON_CPU;
}

/* State `i` of a parameter: moments lie as the weight does, in the arithmetic's type; the third is the step count. */
static int is_state(const struct described *d, const struct address *a, int i)
{
    return i == MAX_STATES - 1 ? is_step_count(d) : lies_like(d, a, IS_FLOAT, a->bits == 64 ? 64 : 32);
}

/* The gradient, of which `a` then holds a reference; HOLDS with none where there was none. */
static enum answer fetch_grad(const struct interpreter *python, struct address *a, int has_grad)
{
    a->grad = python->attribute(a->weight, python->grad);
    if (!a->grad)
        return FAILED;
    if (a->grad == python->none) {
        python->release(a->grad);
        a->grad = NULL;
        return has_grad ? CHANGED : HOLDS;
    }
    return has_grad ? HOLDS : CHANGED;
}

/* Of torch's own class, and not a view that negates what lies in memory. */
static enum answer is_plain(const struct interpreter *python, void *grad)
{
    void *type = python->type_of(grad), *is_neg;
    python->release(type); /* the tensor holds it */
    if (type != python->tensor_type)
        return CHANGED;
    is_neg = python->call(python->is_neg, grad);
    if (!is_neg)
        return FAILED;
    python->release(is_neg);
    return is_neg == python->yes ? CHANGED : HOLDS;
}

static enum answer compare_states(const struct interpreter *python, const struct address *a, int64_t n_states)
{
    struct described d;
    for (int i = 0; i < n_states; i++) {
        if (python->describe(a->states[i], &d))
            return FAILED;
        if (data_of(&d) != a->state_data[i] || !is_state(&d, a, i))
            return CHANGED;
    }
    return HOLDS;
}

/* Whether all lies as it did, and the gradient as its weight does; then `row` has their places. */
static enum answer compare(const struct interpreter *python, struct address *a, int64_t n_states, struct tensor *row)
{
    struct described d;
    enum answer answer = is_plain(python, a->grad);
    if (answer != HOLDS)
        return answer;
    if (python->describe(a->weight, &d))
        return FAILED;
    if (data_of(&d) != a->data || !lies_like(&d, a, a->code, a->bits))
        return CHANGED;
    if (python->describe(a->grad, &d))
        return FAILED;
    if (!lies_like(&d, a, a->code, a->bits))
        return CHANGED;
    row->grad = data_of(&d);
    if (!row->grad && row->channels) /* zeros without memory, as torch makes them for forward differentiation */
        return CHANGED;
    return compare_states(python, a, n_states);
}

static enum answer compare_group(const struct interpreter *python, const struct group *g)
{
    struct tensor *row = g->rows;
    if (python->list_size(g->params) != g->n_params)
        return CHANGED;
    for (int64_t i = 0; i < g->n_params; i++) {
        struct address *a = g->addresses + i;
        if (python->list_item(g->params, i) != a->weight)
            return CHANGED;
        enum answer answer = fetch_grad(python, a, a->has_grad);
        if (answer == HOLDS && a->has_grad)
            answer = compare(python, a, g->n_states, row++);
        if (answer != HOLDS)
            return answer;
    }
    return HOLDS;
}

/* ---- noting ---- */

static enum answer note_states(const struct interpreter *python, struct address *a, void *state, void *keys,
                               int64_t n_states)
{
    struct described d;
    void *entries = n_states ? python->dict_item(state, a->weight) : NULL;
    if (n_states && !entries)
        return CHANGED;
    for (int i = 0; i < n_states; i++) {
        a->states[i] = python->dict_item(entries, python->list_item(keys, i));
        if (!a->states[i])
            return CHANGED;
        if (python->describe(a->states[i], &d))
            return FAILED;
        if (!is_state(&d, a, i))
            return CHANGED;
        a->state_data[i] = data_of(&d);
    }
    return HOLDS;
}

static enum answer note_weight(const struct interpreter *python, struct address *a)
{
    struct described d;
    if (python->describe(a->weight, &d))
        return FAILED;
    if (d.n_dims > MAX_DIMS || d.device_type != ON_CPU)
        return CHANGED;
    a->data = data_of(&d);
    a->n_dims = d.n_dims;
    a->code = d.code;
    a->bits = d.bits;
    memcpy(a->shape, d.shape, (size_t)d.n_dims * sizeof(int64_t));
    memcpy(a->strides, d.strides, (size_t)d.n_dims * sizeof(int64_t));
    return HOLDS;
}

/* Whether `row` is that of this parameter, as it was just stepped. */
static int is_row_of(const struct address *a, const struct tensor *row)
{
    const int is_empty = row->channels == 0; /* lies nowhere */
    return is_empty || (row->weight == a->data && row->first == a->state_data[0] &&
                        row->second == a->state_data[1] && (char *)row->step == a->state_data[2]);
}

static enum answer note_group(const struct interpreter *python, const struct group *g, void *state, void *keys)
{
    int64_t n_rows = 0;
    if (python->list_size(g->params) != g->n_params)
        return CHANGED;
    for (int64_t i = 0; i < g->n_params; i++) {
        struct address *a = g->addresses + i;
        a->weight = python->list_item(g->params, i);
        void *grad = python->attribute(a->weight, python->grad);
        if (!grad)
            return FAILED;
        python->release(grad); /* the parameter holds it */
        a->has_grad = grad != python->none;
        if (!a->has_grad)
            continue;
        enum answer answer = note_weight(python, a);
        if (answer == HOLDS)
            answer = note_states(python, a, state, keys, g->n_states);
        if (answer != HOLDS)
            return answer;
        if (n_rows == g->n_rows || !is_row_of(a, g->rows + n_rows++))
            return CHANGED;
    }
    return n_rows == g->n_rows ? HOLDS : CHANGED;
}

EXPORT int64_t adamp_address_bytes(void) { return (int64_t)sizeof(struct address); }

/* Note the settings of `groups`, Python's list. Returns HOLDS, or CHANGED if there is no room for them. */
EXPORT int adamp_note_settings(const struct repetition *r, void *groups)
{
    return are_settings_met(r, groups, 1) ? HOLDS : CHANGED;
}

/* Note where all lies after a step. `state` is Python's dict from parameters to dicts; `keys` is a list, per group, of
 * lists that name the states in the order first, second, step. Returns HOLDS, FAILED, or CHANGED if it cannot be noted. */
EXPORT int adamp_note(const struct repetition *r, void *state, void *keys)
{
    for (int64_t i = 0; i < r->n_groups; i++) {
        const enum answer answer = note_group(r->python, r->groups + i, state, r->python->list_item(keys, i));
        if (answer != HOLDS)
            return answer;
    }
    return are_states_met(r, state, 1) ? HOLDS : CHANGED;
}

/* ---- repeating ---- */

static enum answer compare_all(const struct repetition *r, void *groups, void *state)
{
    if (!are_settings_met(r, groups, 0))
        return OTHER_SETTINGS;
    if (!are_states_met(r, state, 0))
        return CHANGED;
    for (int64_t i = 0; i < r->n_groups; i++) {
        const enum answer answer = compare_group(r->python, r->groups + i);
        if (answer != HOLDS)
            return answer;
    }
    return HOLDS;
}

static enum answer step_all(const struct repetition *r, int n_threads)
{
    int status = 0;
    /* As every operator of torch does that writes: autograd then notices a weight changed between two passes. */
    void *done = r->python->call(r->python->increment_version, r->weights);
    if (!done)
        return FAILED;
    r->python->release(done);
    void *thread = r->python->unlock();
    for (int64_t i = 0; !status && i < r->n_groups; i++) {
        const struct group *g = r->groups + i;
        if (g->n_rows)
            status = adamp_step(g->context, g->rows, g->n_rows, NULL, g->hyper, n_threads, r->isa, r->parallel);
    }
    r->python->lock(thread);
    return status ? NO_MEMORY : STEPPED;
}

static void release_grads(const struct repetition *r)
{
    for (int64_t i = 0; i < r->n_groups; i++)
        for (int64_t j = 0; j < r->groups[i].n_params; j++) {
            struct address *a = r->groups[i].addresses + j;
            void *grad = a->grad;
            a->grad = NULL;
            if (grad)
                r->python->release(grad);
        }
}

/* Step once more what was noted, if all still holds. */
EXPORT int adamp_repeat(const struct repetition *r, void *groups, void *state, int n_threads)
{
    enum answer answer = compare_all(r, groups, state);
    if (answer == HOLDS)
        answer = step_all(r, n_threads);
    release_grads(r);
    return answer;
}
