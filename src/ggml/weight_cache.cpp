#include "ggml/weight_cache.hpp"

#include <utility>

namespace napier {

size_t WeightCache::Hash::operator()(const PackedKey& key) const {
  uint64_t hash = 0;
  const auto add = [&](uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
  };
  add(key.buffer);
  add(reinterpret_cast<uintptr_t>(key.data));
  add(static_cast<uint64_t>(key.n));
  add(static_cast<uint64_t>(key.k));
  add(key.row_stride);
  add(key.arithmetic);
  return static_cast<size_t>(hash);
}

WeightCache::Packed WeightCache::get(const PackedKey& key, size_t budget,
                                     const std::function<Packed()>& pack) {
  uint64_t last_asked = 0;
  uint64_t changes = 0;
  {
    std::lock_guard lock(mutex_);
    Slot& slot = slots_[key];
    last_asked = std::exchange(slot.last_asked, ++clock_);
    changes = changes_;
    if (slot.packed) {
      order_.splice(order_.end(), order_, slot.place);
      return slot.packed;
    }
  }
  Packed packed = pack();
  std::lock_guard lock(mutex_);
  if (changes != changes_) return packed;
  Slot& slot = slots_[key];
  if (slot.packed || !make_room(packed->bytes(), budget, last_asked)) return packed;
  slot.packed = packed;
  slot.place = order_.insert(order_.end(), key);
  bytes_ += packed->bytes();
  return packed;
}

// Drops from the front as long as nothing is dropped that was asked for after `last_asked`.
bool WeightCache::make_room(size_t needed, size_t budget, uint64_t last_asked) {
  if (needed > budget) return false;
  size_t freed = 0;
  auto end = order_.begin();
  while (bytes_ - freed + needed > budget) {
    const Slot& slot = slots_.at(*end);
    if (slot.last_asked > last_asked) return false;
    freed += slot.packed->bytes();
    ++end;
  }
  for (auto it = order_.begin(); it != end; it = order_.erase(it)) slots_.at(*it).packed.reset();
  bytes_ -= freed;
  return true;
}

template <typename Predicate>
void WeightCache::drop_if(Predicate predicate) {
  std::lock_guard lock(mutex_);
  changes_++;
  for (auto it = slots_.begin(); it != slots_.end();) {
    if (!predicate(it->first)) {
      ++it;
      continue;
    }
    if (it->second.packed) {
      bytes_ -= it->second.packed->bytes();
      order_.erase(it->second.place);
    }
    it = slots_.erase(it);
  }
}

void WeightCache::invalidate(uint64_t buffer) {
  drop_if([&](const PackedKey& key) { return key.buffer == buffer; });
}

void WeightCache::invalidate(uint64_t buffer, const void* begin, const void* end) {
  const auto address = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); };
  drop_if([&](const PackedKey& key) {
    // The last row is not longer than the stride from row to row, or, where rows interleave
    // (a transposed view), than all its elements.
    const uintptr_t first = address(key.data);
    const uintptr_t last = first + key.row_stride * static_cast<uint64_t>(key.n) +
                           key.element_stride * static_cast<uint64_t>(key.k);
    return key.buffer == buffer && first < address(end) && address(begin) < last;
  });
}

void WeightCache::clear() {
  drop_if([](const PackedKey&) { return true; });
}

size_t WeightCache::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

size_t WeightCache::entries() const {
  std::lock_guard lock(mutex_);
  return order_.size();
}

}  // namespace napier
