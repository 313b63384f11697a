#define AWQ_ROW_OPS kRowOpsPortable
#define AWQ_ROW_OPS_TEXT "portable"
#define AWQ_ROW_OPS_FEATURES 0
#include "backend/cpu/row_ops_impl.h"
