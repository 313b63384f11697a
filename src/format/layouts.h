// The rows that registry.cc lists; each is defined in the file of its layout.
#pragma once
#include "format/registry.h"

namespace awq::format {

extern const LayoutRow kGemmRow, kGemvRow, kGemvFastRow, kCompressedTensorsRow, kCompressedTensorsSymRow, kModeloptRow;

// quantization_config in the words of each family (config_json.cc).
std::string autoawq_config_json(const QuantConfig&);
std::string compressed_tensors_config_json(const QuantConfig&);
std::string modelopt_config_json(const QuantConfig&);
std::string hf_quant_config_json(const QuantConfig&);  // Model Optimizer's file beside config.json

}  // namespace awq::format
