// Places in a row's order from the most likely token down: the first one through which so many tokens, or so much
// weight, have passed. Two ways to find them, with the same answers: ListedPlaces for up to kListed candidates, sorted;
// RowPlaces for any number, by a byte of the key at a time over the whole row, for distributions that are nearly flat.
#pragma once
#include "backend/cuda/run/block_scan.cuh"
#include "backend/cuda/run/draw_token.h"
#include "backend/cuda/run/token_key.cuh"

namespace awq::backend::cuda {

inline constexpr int kPlaceThreads = 1024;

struct Place {
  uint64_t key, weight;  // of the token there; of all through it
};

// Whether what has passed is enough; nothing never is.
struct CountReaches {
  uint64_t target;
  __device__ __forceinline__ bool operator()(uint64_t count, uint64_t) const { return count >= target; }
};
struct WeightReaches {
  uint64_t target;
  __device__ __forceinline__ bool operator()(uint64_t, uint64_t weight) const { return weight >= target; }
};

__device__ __forceinline__ uint64_t weight_of(const DrawPlan& plan, float logit) {
  return token_weight(plan.largest, logit, plan.numbers.scale);
}

// Bitonic, the largest first. `size`: a power of two.
__device__ inline void sort_down(uint64_t* keys, int size) {
  for (int run = 2; run <= size; run *= 2)
    for (int apart = run / 2; apart > 0; apart /= 2) {
      for (int i = threadIdx.x; i < size / 2; i += kPlaceThreads) {
        const int a = 2 * i - (i & (apart - 1)), b = a + apart;  // a: i with a 0 put in where `apart` has its 1
        const uint64_t first = keys[a], second = keys[b];
        const bool rises = (a & run) != 0;
        if ((first < second) != rises) keys[a] = second, keys[b] = first;
      }
      __syncthreads();
    }
}

class ListedPlaces {
 public:
  // The thread's tokens are kEach in a row of the sorted order.
  __device__ ListedPlaces(const uint64_t* list, int n, const DrawPlan& plan) : keys_(sorted(list, n)) {
    uint64_t sum = 0;
    for (int i = 0; i < kEach; ++i) {
      const uint64_t key = first() + i < n ? keys_[first() + i] : 0;
      sum += weights_[i] = key == 0 ? 0 : weight_of(plan, logit_of(key));
    }
    before_ = block_scan<kPlaceThreads>(sum).through - sum;
  }

  template <class Reaches>
  __device__ Place first_that(Reaches reaches) const {
    __shared__ Place found;
    __syncthreads();  // the place of a call before has been read
    uint64_t weight = before_, count = first();
    for (const uint64_t of_token : weights_) {
      const bool already = reaches(count, weight);
      ++count, weight += of_token;
      if (of_token > 0 && !already && reaches(count, weight)) found = {keys_[count - 1], weight};
    }
    __syncthreads();
    return found;
  }

 private:
  static constexpr int kEach = kListed / kPlaceThreads;
  __device__ static int first() { return threadIdx.x * kEach; }
  __device__ static const uint64_t* sorted(const uint64_t* list, int n) {
    __shared__ uint64_t keys[kListed];
    int size = 2;
    while (size < n) size *= 2;
    for (int i = threadIdx.x; i < size; i += kPlaceThreads)
      keys[i] = i < n ? __ldcg(reinterpret_cast<const unsigned long long*>(list + i)) : 0;
    __syncthreads();
    sort_down(keys, size);
    return keys;
  }

  const uint64_t* keys_;
  uint64_t weights_[kEach], before_;
};

class RowPlaces {
 public:
  __device__ RowPlaces(const float* logits, int64_t vocab, const DrawPlan& plan)
      : logits_(logits), vocab_(vocab), plan_(plan) {}

  template <class Reaches>
  __device__ Place first_that(Reaches reaches) const {
    uint64_t prefix = 0, count = 0, weight = 0;  // of the key; of what comes before every key that begins so
    for (int shift = 56; shift >= 0; shift -= 8) {
      if (shift < 32 && (vocab_ - 1) >> shift == 0) {  // ids that end here: the byte is 255 in all of them
        prefix |= uint64_t{255} << shift;
        continue;
      }
      const Digit digit = next_digit(prefix, shift, count, weight, reaches);
      prefix |= uint64_t{digit.value} << shift;
      count = digit.count, weight = digit.weight;
    }
    return {prefix, weight + weight_of(plan_, logit_of(prefix))};
  }

 private:
  struct Digit {
    uint32_t value;
    uint64_t count, weight;  // before it
  };
  template <class Reaches>
  __device__ Digit next_digit(uint64_t prefix, int shift, uint64_t count, uint64_t weight, Reaches reaches) const {
    __shared__ Bins<256> bins;
    __shared__ Digit found;
    __syncthreads();  // the digit of a call before has been read
    bins.clear();
    __syncthreads();
    for (int64_t id = threadIdx.x; id < vocab_; id += kPlaceThreads) {
      const uint64_t key = key_of(logits_[id], static_cast<int>(id));
      if ((key ^ prefix) >> shift >> 8 != 0) continue;
      if (const uint64_t of_token = weight_of(plan_, logits_[id]); of_token > 0)
        bins.add(static_cast<int>(key >> shift & 255), of_token);
    }
    __syncthreads();
    const int bin = 255 - static_cast<int>(threadIdx.x);
    const uint64_t here = bin < 0 ? 0 : bins.counts[bin], held = bin < 0 ? 0 : bins.weight(bin);
    const uint64_t counts = count + block_scan<kPlaceThreads>(here).through;
    const uint64_t weights = weight + block_scan<kPlaceThreads>(held).through;
    if (here > 0 && !reaches(counts - here, weights - held) && reaches(counts, weights))
      found = {static_cast<uint32_t>(bin), counts - here, weights - held};
    __syncthreads();
    return found;
  }

  const float* logits_;
  int64_t vocab_;
  const DrawPlan& plan_;
};

}  // namespace awq::backend::cuda
