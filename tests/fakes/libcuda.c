/* A stand-in for libcuda.so.1: what the agent calls of the driver API, over host memory.
 *
 * The real package cuda-bindings runs on top of it, so that our calls are held against its own
 * signatures on a host without a GPU. Copies happen at once. A call without a current context is
 * refused as by the real one (201). LIBCUDA_FAIL="cuMemAlloc 2" makes one call fail with a code;
 * LIBCUDA_PAUSE is how many microseconds a wait for an event takes; LIBCUDA_EXCLUSIVE gives devices
 * to one process at a time. What was taken and not given
 * back is said on stderr at the end of the process. Shared device memory is a memfd, which another
 * process can import; where it is mapped and nobody was given access, touching it is the end.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef int Result;
typedef unsigned long long Address;
enum { OK = 0, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NO_CONTEXT = 201, NOT_FOUND = 500 };
enum { BAD_VALUE = 1, BAD_DEVICE = 101, ALREADY_REGISTERED = 712, NOT_REGISTERED = 713 };
enum { MEMORY = 1 << 30, DEVICES = 2, DEEPEST = 8, GRANULARITY = 2 << 20, MAX_PITCH = 1 << 20 };

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
Result cuMemsetD8_v2(Address to, unsigned char value, size_t size) {
  BEGIN_IN_CONTEXT(cuMemsetD8);
  memset((void *)to, value, size);
  return OK;
}

/* Source of the structures, and of the numbers that stand for kinds: cuda.h. */
struct Copy2D {
  size_t from_x, from_y;
  int from_kind; /* 1: host */
  const char *from;
  Address from_device;
  void *from_array;
  size_t from_pitch, to_x, to_y;
  int to_kind; /* 2: device */
  void *to_host;
  Address to;
  void *to_array;
  size_t to_pitch, width, height;
};
Result cuMemcpy2DAsync_v2(const struct Copy2D *copy, void *stream) {
  BEGIN_IN_CONTEXT(cuMemcpy2DAsync);
  if (copy->from_kind != 1 || copy->to_kind != 2) return BAD_VALUE;
  if (copy->width > copy->from_pitch || copy->from_pitch > MAX_PITCH) return BAD_VALUE;
  if (copy->width > copy->to_pitch || copy->to_pitch > MAX_PITCH) return BAD_VALUE;
  for (size_t n = 0; n < copy->height; n++)
    memcpy((char *)copy->to + n * copy->to_pitch, copy->from + n * copy->from_pitch, copy->width);
  return OK;
}

Result cuDeviceGetAttribute(int *value, int attribute, int device) {
  enum { PITCH = 11, MODE = 20, READ_ONLY_REGISTER = 113 };
  *value = attribute == PITCH ? MAX_PITCH : attribute == READ_ONLY_REGISTER;
  if (attribute == MODE && getenv("LIBCUDA_EXCLUSIVE")) *value = 3;
  return OK;
}

/* Page-locked memory of others: one range is enough to say whether it was given back. */
static void *locked;
Result cuMemHostRegister_v2(void *memory, size_t size, unsigned flags) {
  enum { PORTABLE = 1, READ_ONLY = 8 };
  BEGIN_IN_CONTEXT(cuMemHostRegister);
  if (flags != (PORTABLE | READ_ONLY)) return BAD_VALUE;
  if (locked) return ALREADY_REGISTERED;
  locked = memory;
  __sync_fetch_and_add(&taken, 1);
  return OK;
}
Result cuMemHostUnregister(void *memory) {
  BEGIN_IN_CONTEXT(cuMemHostUnregister);
  if (locked != memory) return NOT_REGISTERED;
  locked = NULL;
  __sync_fetch_and_sub(&taken, 1);
  return OK;
}
Result cuCtxSynchronize(void) { BEGIN_IN_CONTEXT(cuCtxSynchronize); return OK; }

/* Memory that other processes can map. */
struct Handle { int fd; };
struct Kind { int type, handles; struct { int type, id; } where; };
struct Access { struct { int type, id; } where; int flags; };

static Result new_handle(struct Handle **handle, int fd) {
  Result result = take((void **)handle, sizeof **handle);
  if (result == OK) (*handle)->fd = fd;
  return result;
}
Result cuMemGetAllocationGranularity(size_t *size, const struct Kind *kind, int which) {
  BEGIN(cuMemGetAllocationGranularity);
  *size = GRANULARITY;
  return kind->type == 1 ? OK : BAD_VALUE;
}
Result cuMemCreate(struct Handle **handle, size_t size, const struct Kind *kind, uint64_t flags) {
  BEGIN(cuMemCreate);
  if (size % GRANULARITY || kind->type != 1 || kind->handles != 1) return BAD_VALUE;
  if (kind->where.type != 1 || kind->where.id >= DEVICES) return BAD_DEVICE;
  if (size > MEMORY) return OUT_OF_MEMORY;
  int fd = memfd_create("shared", 0);
  if (ftruncate(fd, size)) return OUT_OF_MEMORY;
  return new_handle(handle, fd);
}
Result cuMemRelease(struct Handle *handle) {
  BEGIN(cuMemRelease);
  close(handle->fd);
  return give(handle);
}
Result cuMemExportToShareableHandle(int *fd, struct Handle *handle, int kind, uint64_t flags) {
  BEGIN(cuMemExportToShareableHandle);
  *fd = dup(handle->fd);
  return kind == 1 ? OK : BAD_VALUE;
}
Result cuMemImportFromShareableHandle(struct Handle **handle, void *fd, int kind) {
  BEGIN(cuMemImportFromShareableHandle);
  int ours = kind == 1 ? dup((int)(intptr_t)fd) : -1;
  return ours < 0 ? BAD_VALUE : new_handle(handle, ours);
}
Result cuMemAddressReserve(Address *place, size_t size, size_t aligned, Address at, uint64_t flags) {
  BEGIN(cuMemAddressReserve);
  void *found = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (found == MAP_FAILED) return OUT_OF_MEMORY;
  *place = (Address)found;
  __sync_fetch_and_add(&taken, 1);
  return OK;
}
Result cuMemAddressFree(Address place, size_t size) {
  BEGIN(cuMemAddressFree);
  munmap((void *)place, size);
  __sync_fetch_and_sub(&taken, 1);
  return OK;
}
Result cuMemMap(Address place, size_t size, size_t begin, struct Handle *handle, uint64_t flags) {
  BEGIN(cuMemMap);
  if (lseek(handle->fd, 0, SEEK_END) < (off_t)(begin + size)) return BAD_VALUE;
  void *at = mmap((void *)place, size, PROT_NONE, MAP_SHARED | MAP_FIXED, handle->fd, begin);
  if (at == MAP_FAILED) return BAD_VALUE;
  __sync_fetch_and_add(&taken, 1);
  return OK;
}
Result cuMemUnmap(Address place, size_t size) {
  BEGIN(cuMemUnmap);
  mmap((void *)place, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  __sync_fetch_and_sub(&taken, 1);
  return OK;
}
Result cuMemSetAccess(Address place, size_t size, const struct Access *access, size_t count) {
  BEGIN(cuMemSetAccess);
  if (count != 1 || access->where.type != 1 || access->flags != 3) return BAD_VALUE;
  return mprotect((void *)place, size, PROT_READ | PROT_WRITE) ? BAD_VALUE : OK;
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
