/* A stand-in for libcuda.so.1: what the agent calls of the driver API, over host memory.
 *
 * The real package cuda-bindings runs on top of it, so that our calls are held against its own
 * signatures on a host without a GPU. Copies happen at once. A call without a current context is
 * refused as by the real one (201). LIBCUDA_FAIL="cuMemAlloc 2" makes one call fail with a code;
 * LIBCUDA_PAUSE is how many microseconds a wait for an event takes. What was taken and not given
 * back is said on stderr at the end of the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Result;
typedef unsigned long long Address;
enum { OK = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NO_CONTEXT = 201, NOT_FOUND = 500 };
enum { MEMORY = 1 << 30, DEVICES = 2, DEEPEST = 8 };

static long taken; /* allocations, pins, streams, events and contexts */
static __thread void *contexts[DEEPEST];
static __thread int depth;

static Result ordered(const char *call) {
  const char *order = getenv("LIBCUDA_FAIL");
  size_t length = strlen(call);
  if (!order || strncmp(order, call, length) || order[length] != ' ') return OK;
  return atoi(order + length + 1);
}

#define BEGIN(call) do { Result r = ordered(#call); if (r) return r; } while (0)
#define BEGIN_IN_CONTEXT(call) do { BEGIN(call); if (!depth) return NO_CONTEXT; } while (0)

static Result take(void **place, size_t size) {
  if (size > MEMORY || posix_memalign(place, 4096, size)) return OUT_OF_MEMORY;
  __sync_fetch_and_add(&taken, 1);
  return OK;
}

static Result give(void *place) {
  free(place);
  __sync_fetch_and_sub(&taken, 1);
  return OK;
}

Result cuInit(unsigned flags) { BEGIN(cuInit); return OK; }
Result cuDriverGetVersion(int *version) { *version = 13000; return OK; }
Result cuDeviceGetCount(int *count) { BEGIN(cuDeviceGetCount); *count = DEVICES; return OK; }
Result cuDeviceGet(int *device, int index) { *device = index; return OK; }
Result cuDeviceGetName(char *name, int size, int device) {
  snprintf(name, size, "Stand-in %d", device);
  return OK;
}
Result cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
  memset(uuid, 0, 16);
  uuid[15] = device;
  return OK;
}
Result cuDevicePrimaryCtxRetain(void **context, int device) {
  BEGIN(cuDevicePrimaryCtxRetain);
  return take(context, 64);
}
Result cuDevicePrimaryCtxRelease_v2(int device) {
  __sync_fetch_and_sub(&taken, 1);
  return OK;
}
Result cuCtxPushCurrent_v2(void *context) { contexts[depth++] = context; return OK; }
Result cuCtxPopCurrent_v2(void **context) {
  if (!depth) return NO_CONTEXT;
  *context = contexts[--depth];
  return OK;
}
Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  BEGIN_IN_CONTEXT(cuMemGetInfo);
  *free_bytes = *total = MEMORY;
  return OK;
}
Result cuMemAlloc_v2(Address *address, size_t size) {
  BEGIN_IN_CONTEXT(cuMemAlloc);
  return take((void **)address, size);
}
Result cuMemFree_v2(Address address) { BEGIN_IN_CONTEXT(cuMemFree); return give((void *)address); }
Result cuMemHostAlloc(void **memory, size_t size, unsigned flags) {
  BEGIN_IN_CONTEXT(cuMemHostAlloc);
  return take(memory, size);
}
Result cuMemFreeHost(void *memory) { BEGIN_IN_CONTEXT(cuMemFreeHost); return give(memory); }
Result cuStreamCreate(void **stream, unsigned flags) {
  BEGIN_IN_CONTEXT(cuStreamCreate);
  return take(stream, 64);
}
Result cuStreamDestroy_v2(void *stream) { BEGIN_IN_CONTEXT(cuStreamDestroy); return give(stream); }
Result cuStreamSynchronize(void *stream) { BEGIN_IN_CONTEXT(cuStreamSynchronize); return OK; }
Result cuEventCreate(void **event, unsigned flags) {
  BEGIN_IN_CONTEXT(cuEventCreate);
  return take(event, 64);
}
Result cuEventDestroy_v2(void *event) { BEGIN_IN_CONTEXT(cuEventDestroy); return give(event); }
Result cuEventRecord(void *event, void *stream) { BEGIN_IN_CONTEXT(cuEventRecord); return OK; }
Result cuEventSynchronize(void *event) {
  BEGIN_IN_CONTEXT(cuEventSynchronize);
  if (getenv("LIBCUDA_PAUSE")) usleep(atoi(getenv("LIBCUDA_PAUSE")));
  return OK;
}
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t size, void *stream) {
  BEGIN_IN_CONTEXT(cuMemcpyHtoDAsync);
  memcpy((void *)to, from, size);
  return OK;
}
Result cuMemcpyDtoH_v2(void *to, Address from, size_t size) {
  BEGIN_IN_CONTEXT(cuMemcpyDtoH);
  memcpy(to, (void *)from, size);
  return OK;
}
Result cuGetErrorString(Result error, const char **text) {
  *text = error == OUT_OF_MEMORY ? "out of memory" : error == NO_DEVICE ? "no device" : NULL;
  return *text ? OK : 1;
}

/* How the bindings find all of the above: by names without the suffix of their version. */
Result cuGetProcAddress_v2(const char *name, void **call, int version, uint64_t flags, int *why) {
  char newer[128];
  void *here = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  snprintf(newer, sizeof newer, "%s_v2", name);
  *call = dlsym(here, newer);
  if (!*call) *call = dlsym(here, name);
  if (why) *why = *call ? 0 : 1;
  return *call ? OK : NOT_FOUND;
}

__attribute__((destructor)) static void end(void) {
  if (taken) fprintf(stderr, "%ld things of the driver were not given back\n", taken);
}
