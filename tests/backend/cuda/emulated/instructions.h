// The table of what the emulator can execute.
#pragma once
#include <cstdint>
#include <string>

#include "backend/cuda/emulated/ptx.h"

namespace awq::emulated {

void (*find_instruction(const std::string& opcode))(Call&);  // null: unknown
uint64_t special_register(const std::string& name);          // a mark that read_special() understands; 0: no such one
uint64_t read_special(uint64_t mark);

// In files of their own.
void multiply_m16n8k16_f16(Call&);
void multiply_m16n8k16_bf16(Call&);
void multiply_m16n8k8_f16(Call&);
void load_matrices(Call&);
void store_matrices(Call&);
void transpose_matrix(Call&);
void commit_products(Call&);
void wait_for_products(Call&);
void bulk_copy(Call&);
void tensor_copy(Call&);
void commit_stores(Call&);
void wait_for_stores(Call&);
void store_counted(Call&);

}  // namespace awq::emulated
