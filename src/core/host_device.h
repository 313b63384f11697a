// AWQ_HD before a function that host and GPU code share.
#pragma once

#ifdef __CUDACC__
#  define AWQ_HD __host__ __device__
#else
#  define AWQ_HD
#endif
