/* Where a group's tensors lie, read from Python's lists through the C functions that torch publishes by DLPack's
 * exchange table. A small model's step is mostly this: one call instead of a dozen passes in Python.
 *
 * Functions of the interpreter and of torch come as pointers, so that nothing is linked and no header is needed. The
 * caller holds the interpreter's lock. */
#include <string.h>

#include "engine.h"

enum { MAX_DIMS = 6, MAX_STATES = 3, ON_CPU = 1 };

enum answer { HOLDS = 0, CHANGED = 1, FAILED = -1 };

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
    void *(*list_item)(void *list, ptrdiff_t i);         /* PyList_GetItem: borrowed */
    void *(*dict_item)(void *dict, void *key);           /* PyDict_GetItemWithError: borrowed */
    int (*describe)(void *tensor, struct described *to); /* dltensor_from_py_object_no_sync: shape etc. are the tensor's */
};

/* A parameter and its state as they were when the table was made; Python keeps these objects alive. */
struct address {
    void *weight, *states[MAX_STATES];
    char *data, *state_data[MAX_STATES];
    int64_t shape[MAX_DIMS], strides[MAX_DIMS];
    int32_t n_dims, n_states;
    uint8_t code, bits;
};

static char *data_of(const struct described *d) { return d->data + d->byte_offset; }

static int lies_like(const struct described *d, const struct address *a)
{
    const size_t n_bytes = (size_t)a->n_dims * sizeof(int64_t);
    return d->n_dims == a->n_dims && d->code == a->code && d->bits == a->bits && d->lanes == 1 &&
           d->device_type == ON_CPU && !memcmp(d->shape, a->shape, n_bytes) && !memcmp(d->strides, a->strides, n_bytes);
}

/* State `i` of a parameter; `described` is filled in. */
static enum answer look_up(const struct interpreter *python, void *dict, void *keys, int i, void **state,
                           struct described *described)
{
    void *key = python->list_item(keys, i);
    if (!key)
        return FAILED;
    *state = python->dict_item(dict, key);
    if (!*state)
        return CHANGED;
    return python->describe(*state, described) ? FAILED : HOLDS;
}

static enum answer remember(const struct interpreter *python, struct address *a, void *weight, void *dict, void *keys)
{
    struct described d;
    if (python->describe(weight, &d))
        return FAILED;
    if (d.n_dims > MAX_DIMS || d.device_type != ON_CPU)
        return CHANGED;
    a->weight = weight;
    a->data = data_of(&d);
    a->n_dims = d.n_dims;
    a->code = d.code;
    a->bits = d.bits;
    memcpy(a->shape, d.shape, (size_t)d.n_dims * sizeof(int64_t));
    memcpy(a->strides, d.strides, (size_t)d.n_dims * sizeof(int64_t));
    for (int i = 0; i < a->n_states; i++) {
        const enum answer answer = look_up(python, dict, keys, i, a->states + i, &d);
        if (answer != HOLDS)
            return answer;
        a->state_data[i] = data_of(&d);
    }
    return HOLDS;
}

static enum answer compare(const struct interpreter *python, const struct address *a, void *weight, void *grad,
                           void *dict, void *keys, struct tensor *t)
{
    struct described w, g, s;
    void *state;
    if (weight != a->weight)
        return CHANGED;
    if (python->describe(weight, &w) || python->describe(grad, &g))
        return FAILED;
    if (data_of(&w) != a->data || !lies_like(&w, a) || !lies_like(&g, a))
        return CHANGED;
    for (int i = 0; i < a->n_states; i++) {
        const enum answer answer = look_up(python, dict, keys, i, &state, &s);
        if (answer != HOLDS)
            return answer;
        if (state != a->states[i] || data_of(&s) != a->state_data[i])
            return CHANGED;
    }
    t->weight = a->data;
    t->grad = data_of(&g);
    t->first = a->n_states > 0 ? a->state_data[0] : NULL;
    t->second = a->n_states > 1 ? a->state_data[1] : NULL;
    t->step = a->n_states > 2 ? (float *)a->state_data[2] : NULL;
    return HOLDS;
}

EXPORT int64_t adamp_address_bytes(void) { return (int64_t)sizeof(struct address); }

/* Note where `n` parameters and their states lie. `weights`, `dicts` and `keys` are Python lists; the keys name the
 * states in the order first, second, step. Returns HOLDS, CHANGED if they cannot be noted, or FAILED with a Python
 * exception set. */
EXPORT int adamp_remember(const struct interpreter *python, struct address *addresses, int64_t n, void *weights,
                          void *dicts, void *keys, int n_states)
{
    for (int64_t i = 0; i < n; i++) {
        void *weight = python->list_item(weights, i), *dict = n_states ? python->list_item(dicts, i) : NULL;
        if (!weight || (n_states && !dict))
            return FAILED;
        addresses[i].n_states = n_states;
        const enum answer answer = remember(python, addresses + i, weight, dict, keys);
        if (answer != HOLDS)
            return answer;
    }
    return HOLDS;
}

/* Whether all still lie there, and the gradients as their weights do; then `tensors` has their places. */
EXPORT int adamp_revisit(const struct interpreter *python, const struct address *addresses, struct tensor *tensors,
                         int64_t n, void *weights, void *grads, void *dicts, void *keys)
{
    for (int64_t i = 0; i < n; i++) {
        void *weight = python->list_item(weights, i), *grad = python->list_item(grads, i);
        void *dict = addresses[i].n_states ? python->list_item(dicts, i) : NULL;
        if (!weight || !grad || (addresses[i].n_states && !dict))
            return FAILED;
        const enum answer answer = compare(python, addresses + i, weight, grad, dict, keys, tensors + i);
        if (answer != HOLDS)
            return answer;
    }
    return HOLDS;
}
