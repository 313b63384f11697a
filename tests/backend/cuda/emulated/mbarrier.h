// mbarrier: eight bytes of shared memory that count arrivals and bytes, phase by phase.
#pragma once
#include <cstdint>
#include <string>

namespace awq::emulated {

void mbarrier_init(uint32_t address, uint32_t arrivals);
void mbarrier_arrive(uint32_t address, uint32_t count, int64_t bytes);  // `bytes` more to come in this phase
void mbarrier_expect(uint32_t address, int64_t bytes);                  // without arriving
void mbarrier_landed(void* barrier, int64_t bytes);                     // a copy's
bool mbarrier_test(uint32_t address, uint32_t parity);
void mbarrier_wait(uint32_t address, uint32_t parity, const char* what);
void* mbarrier_at(uint32_t address, const char* what);  // checked to be one

// Whether the phase of that parity has passed, for a barrier that is known to be one.
bool phase_passed(const void* barrier, uint32_t parity);
std::string describe_mbarrier(const void* barrier);

}  // namespace awq::emulated
