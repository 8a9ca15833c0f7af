// Packed weights, kept between graphs within a budget of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "napier/gemm.hpp"

namespace napier {

// Which matrix under which arithmetic. Addresses are used again by the next model, so `buffer` is a
// number never given twice; what writes into a buffer must call invalidate().
struct PackedKey {
  uint64_t buffer = 0;
  const void* data = nullptr;
  int type = 0;
  int64_t n = 0;
  int64_t k = 0;
  size_t row_stride = 0;
  size_t element_stride = 0;
  uint32_t arithmetic = 0;  // PlanRun::arithmetic_id

  bool operator==(const PackedKey&) const = default;
};

// Least recently used ones go first, with one exception: a graph reads all weights in turn, and if
// they do not all fit, pure LRU would drop each just before its next use. So a newcomer displaces
// only what has not been used since the newcomer itself was last asked for. Thread safe.
class WeightCache {
 public:
  using Packed = std::shared_ptr<const PackedWeights>;

  // The kept one, or what `pack` makes; that is not kept if there is no room for it.
  Packed get(const PackedKey& key, size_t budget, const std::function<Packed()>& pack);

  void invalidate(uint64_t buffer);
  // Matrices that overlap [begin, end).
  void invalidate(uint64_t buffer, const void* begin, const void* end);
  void clear();

  size_t bytes() const;
  size_t entries() const;

 private:
  struct Hash {
    size_t operator()(const PackedKey& key) const;
  };
  struct Slot {
    Packed packed;  // empty: known, but not kept
    uint64_t last_asked = 0;
    std::list<PackedKey>::iterator place;  // in order_, when kept
  };

  bool make_room(size_t needed, size_t budget, uint64_t last_asked);
  template <typename Predicate>
  void drop_if(Predicate predicate);

  mutable std::mutex mutex_;
  std::unordered_map<PackedKey, Slot, Hash> slots_;
  std::list<PackedKey> order_;  // the kept ones, least recently used first
  size_t bytes_ = 0;
  uint64_t clock_ = 0;
  uint64_t changes_ = 0;  // counts invalidations: what was packed meanwhile is not kept
};

}  // namespace napier
