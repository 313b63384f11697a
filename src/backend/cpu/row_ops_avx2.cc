#define AWQ_ROW_OPS kRowOpsAvx2
#define AWQ_ROW_OPS_TEXT "avx2"
#define AWQ_ROW_OPS_FEATURES kAvx2
#include "backend/cpu/row_ops_impl.h"
