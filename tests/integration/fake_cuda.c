/* The CUDA driver's boundary without a GPU: kernels and copies take the time that they would, in order, as one stream's do.
   Copies run at 10 GB/s. CUDA_FAKE_FAIL=name makes that call fail. Device memory is 256 MiB, of which a context takes 100; what is used stands
   in $TMPDIR/cuda-used, as NVML would say it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t busy_until;
static int current;

static int asked(const char *name) {
    const char *fail = getenv("CUDA_FAKE_FAIL");
    return fail && !strcmp(fail, name) ? 700 : 0;
}

static int takes(const char *name, int64_t ns) {
    if (!current) return 201;
    int64_t now = now_ns();
    busy_until = (busy_until > now ? busy_until : now) + ns;
    return asked(name);
}

int cuInit(unsigned flags) { return flags ? 1 : asked("cuInit"); }
int cuDeviceGetCount(int *n) { *n = 1; return 0; }
int cuDeviceGet(int *handle, int n) { *handle = 40 + n; return 0; }
int cuDeviceGetAttribute(int *value, int what, int handle) { *value = 108; return what == 16 && handle == 40 ? 0 : 1; }
int cuCtxSetCurrent(void *context) { current = context == (void *)&busy_until; return current ? 0 : 201; }
int cuModuleLoadData(void **module, const char *ptx) { *module = (void *)ptx; return strstr(ptx, ".entry spin") ? 0 : 218; }
int cuModuleGetFunction(void **f, void *module, const char *name) { *f = module; return strcmp(name, "spin") ? 500 : 0; }
static size_t used = 100 << 20;

static void tell(void) {
    char path[4096];
    if (!getenv("TMPDIR")) return;
    snprintf(path, sizeof path, "%s/cuda-used", getenv("TMPDIR"));
    FILE *file = fopen(path, "w");
    if (file) { fprintf(file, "%zu", used); fclose(file); }
}

int cuMemAlloc_v2(uint64_t *at, size_t n) {
    if (used + n > 256 << 20) return 2;
    uint64_t *made = malloc(sizeof *made);
    *made = n;
    *at = (uint64_t)made;
    used += n;
    tell();
    return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int handle) {
    *context = (void *)&busy_until;
    tell();
    return handle == 40 ? 0 : 101;
}

int cuMemFree_v2(uint64_t at) {
    used -= *(uint64_t *)at;
    free((void *)at);
    tell();
    return 0;
}
int cuMemHostAlloc(void **at, size_t n, unsigned flags) { *at = malloc(n); return flags ? 1 : 0; }
int cuEventCreate(void **event, unsigned flags) { *event = calloc(1, sizeof(int64_t)); return flags ? 1 : 0; }
int cuEventRecord(int64_t *event, void *stream) { int64_t now = now_ns(); *event = busy_until > now ? busy_until : now; return stream ? 1 : 0; }

int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream,
                   void **arguments, void **extra) {
    if (!f || gx != 108 || gy != 1 || gz != 1 || bx == 0 || by != 1 || bz != 1 || shared || stream || extra) return 1;
    return takes("cuLaunchKernel", *(int64_t *)arguments[0]);
}

int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t n, void *stream) { return to && from && !stream ? takes("copy", n / 10) : 1; }
int cuMemcpyHtoDAsync_v2(uint64_t to, void *from, size_t n, void *stream) { return to && from && !stream ? takes("copy", n / 10) : 1; }
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t n, void *stream) { return to && from && !stream ? takes("copy", n / 10) : 1; }

int cuEventSynchronize(int64_t *event) {
    for (int64_t left; (left = *event - now_ns()) > 0;) {
        struct timespec t = {left / 1000000000, left % 1000000000};
        nanosleep(&t, 0);
    }
    return 0;
}

int cuEventElapsedTime(float *ms, int64_t *begin, int64_t *end) { *ms = (*end - *begin) / 1e6f; return 0; }
int cuGetErrorString(int code, const char **text) { *text = code == 700 ? "an illegal memory access was encountered" : "failed"; return 0; }
