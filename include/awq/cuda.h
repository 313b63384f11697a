/* W4A16 linears on NVIDIA GPUs, for engines that bring their own memory and streams. C; C++ may use it as it is.
 *
 *   y (m, n) = x (m, k) W' + bias,   W[n][k] = s[n][g] * (q[n][k] - z[n][g]),   g = k / group_size
 *
 * Every pointer below is device memory unless it says host. Nothing allocates, nothing synchronizes, and all work goes
 * to the given stream, so every call can be captured in a CUDA graph. There is no context object and no global state
 * (one exception: the version gemm_dequant_cublaslt opens cuBLASLt, and a handle a device, when it is first chosen:
 * awq_cuda_workspace_bytes does so ahead of any capture); calls from several threads are independent. Same inputs, same
 * device, same version: the same bits.
 *
 * Lives in libawq_cuda.so; link against it or open it with dlopen(). `stream` is a cudaStream_t. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AWQ_CUDA_ABI_VERSION 1

typedef enum awq_cuda_status {
  AWQ_CUDA_OK = 0,
  AWQ_CUDA_BAD_SHAPE = 1,           /* m, n, k or group_size is not one the kernel takes */
  AWQ_CUDA_MISALIGNED = 2,          /* a pointer is null or not a multiple of 16 bytes */
  AWQ_CUDA_NOT_SUPPORTED = 3,       /* "Kernel version not supported on this hardware: ..." */
  AWQ_CUDA_UNKNOWN_VERSION = 4,     /* no kernel has that name */
  AWQ_CUDA_WORKSPACE_TOO_SMALL = 5, /* the text says how many bytes it needs */
  AWQ_CUDA_BAD_ARGUMENT = 6,        /* an enum or a count out of range */
  AWQ_CUDA_FAILED = 7               /* CUDA or cuBLAS returned an error: the text has it */
} awq_cuda_status;

typedef enum awq_cuda_type { AWQ_CUDA_F16 = 0, AWQ_CUDA_BF16 = 1 } awq_cuda_type;

/* Host memory of the caller for the sentence that explains a status; may be NULL. */
typedef struct awq_cuda_message {
  char text[512];
} awq_cuda_message;

/* A linear in this library's own layout; see awq_cuda_layout_bytes and awq_cuda_repack. Pointers are multiples of 16
 * bytes. */
typedef struct awq_cuda_linear {
  int64_t n, k;                 /* n % 8 == 0, k % 8 == 0, group_size divides k */
  int32_t group_size;           /* 32, 64, a multiple of 128, or k */
  const void* qweight;          /* awq_cuda_layout_bytes().qweight bytes */
  const void* scales;           /* .scales bytes */
  const void* zeros;            /* .zeros bytes */
  const void* bias;             /* f16 (n), or NULL */
  int32_t salient_count;        /* input channels corrected in fp16, 0 = none: y += x[:, index] . delta */
  const int32_t* salient_index; /* (salient_count), ascending */
  const void* salient_delta;    /* f16 (salient_count, n) */
} awq_cuda_linear;

typedef struct awq_cuda_bytes {
  size_t qweight, scales, zeros;
} awq_cuda_bytes;

int awq_cuda_abi_version(void);

/* Sizes of the three arrays of a linear; all zero when the shape is not one that awq_cuda_linear allows. */
awq_cuda_bytes awq_cuda_layout_bytes(int64_t n, int64_t k, int32_t group_size);

/* What a checkpoint holds. GEMM, GEMV and GEMV_FAST are AutoAWQ's layouts (qweight, qzeros, scales as stored); PLAIN is
 * one code a byte, row-major (n, k), with zero points one a byte (n, k / group_size) and f16 scales (n, k /
 * group_size). */
typedef enum awq_cuda_layout {
  AWQ_CUDA_LAYOUT_PLAIN = 0,
  AWQ_CUDA_LAYOUT_GEMM = 1,
  AWQ_CUDA_LAYOUT_GEMV = 2,
  AWQ_CUDA_LAYOUT_GEMV_FAST = 3
} awq_cuda_layout;

typedef struct awq_cuda_source {
  awq_cuda_layout layout;
  const void *qweight, *qzeros, *scales;
} awq_cuda_source;

/* Exact, both ways. `to`'s arrays (unrepack: `to`'s PLAIN arrays) are written. */
awq_cuda_status awq_cuda_repack(const awq_cuda_source* from, const awq_cuda_linear* to, void* stream,
                                awq_cuda_message* message);
awq_cuda_status awq_cuda_unrepack(const awq_cuda_linear* from, void* q, void* zeros, void* scales, void* stream,
                                  awq_cuda_message* message);

/* w (n, k) of `type`: s * (q - z), rounded once. */
awq_cuda_status awq_cuda_dequantize(const awq_cuda_linear* from, awq_cuda_type type, void* w, void* stream,
                                    awq_cuda_message* message);

/* Rounds w (n, k) of `type` to 4 bits, one (scale, zero point) a group, and writes it in this library's layout;
 * `limits` f32 (n, k / group_size) clamps |w| first, or NULL. The arithmetic is that of `awq quantize`, bit for bit. */
awq_cuda_status awq_cuda_quantize(const void* w, awq_cuda_type type, const float* limits, int symmetric,
                                  const awq_cuda_linear* to, void* stream, awq_cuda_message* message);

/* Name of the kernel that `version` ("auto", "gemm", "gemv" or a kernel's name) stands for on the current device. */
awq_cuda_status awq_cuda_select(const char* version, const awq_cuda_linear* w, awq_cuda_type type, int64_t m,
                                const char** name, awq_cuda_message* message);

/* Bytes of workspace that awq_cuda_forward needs for up to m rows of x with that version; often 0. */
awq_cuda_status awq_cuda_workspace_bytes(const char* version, const awq_cuda_linear* w, awq_cuda_type type, int64_t m,
                                         size_t* bytes, awq_cuda_message* message);

/* y (m, n) = x (m, k) W' + bias + correction; x and y are row-major without gaps, of `type`, m >= 1. The workspace is
 * scratch: its contents need no preparation, flags between blocks included, and mean nothing afterwards; one stream at
 * a time may use it. On 9.0 and later the weights are read before the preceding kernel of the stream has ended: that
 * one must not write them (docs/cuda.md). */
awq_cuda_status awq_cuda_forward(const char* version, const awq_cuda_linear* w, awq_cuda_type type, int64_t m,
                                 const void* x, void* y, void* workspace, size_t workspace_bytes, void* stream,
                                 awq_cuda_message* message);

#ifdef __cplusplus
}
#endif
