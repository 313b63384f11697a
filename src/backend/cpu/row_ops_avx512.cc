#define AWQ_ROW_OPS kRowOpsAvx512
#define AWQ_ROW_OPS_TEXT "avx512"
#define AWQ_ROW_OPS_FEATURES kAvx2 | kAvx512
#include "backend/cpu/row_ops_impl.h"
