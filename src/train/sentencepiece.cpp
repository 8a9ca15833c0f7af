#include "train/sentencepiece.hpp"

#include <bit>
#include <cstring>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "napier/error.hpp"
#include "numerics/input_file.hpp"

namespace napier {
namespace {

// One field of a protocol buffer: a number, or bytes.
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;
  std::string_view bytes;
};

// The fields of a message, in the wire format's order; nothing at its end.
class Message {
 public:
  Message(std::string_view bytes, const std::string& path) : rest_(bytes), path_(&path) {}

  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    const uint64_t tag = varint();
    Field field;
    field.number = tag >> 3;
    switch (tag & 7) {
      case 0: field.value = varint(); break;
      case 1: field.value = fixed<uint64_t>(); break;
      case 2: field.bytes = take(varint()); break;
      case 5: field.value = fixed<uint32_t>(); break;
      default: throw broken();
    }
    return field;
  }

 private:
  Error broken() const { return Error(*path_ + ": is no SentencePiece model"); }

  std::string_view take(uint64_t count) {
    if (count > rest_.size()) throw broken();
    const std::string_view result = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return result;
  }
  template <class Value>
  Value fixed() {
    Value value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw broken();
  }

  std::string_view rest_;
  const std::string* path_;
};

SentencePieceModel::Piece read_piece(std::string_view bytes, const std::string& path) {
  SentencePieceModel::Piece piece;
  Message message(bytes, path);
  while (const auto field = message.next()) {
    if (field->number == 1) piece.text = field->bytes;
    if (field->number == 2) piece.score = std::bit_cast<float>(static_cast<uint32_t>(field->value));
    if (field->number == 3) piece.type = static_cast<int>(field->value);
  }
  return piece;
}

// One after the other, as the library writes them.
bool bytes_in_order(const SentencePieceModel& model) {
  constexpr int k_byte = 6;
  std::vector<size_t> places;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.pieces[i].type == k_byte) places.push_back(i);
  }
  return places.size() == 256 && places.back() - places.front() == 255;
}

}  // namespace

SentencePieceModel read_sentencepiece(const std::string& path) {
  const std::string content = read_input_file(path, "the vocabulary");
  SentencePieceModel model;
  // Those of the library's defaults that matter here.
  uint64_t kind = 1;
  bool has_bytes = false, as_suffix = false, removes_spaces = true, escapes = true, maps = false;
  Message message(content, path);
  while (const auto part = message.next()) {
    if (part->number == 1) model.pieces.push_back(read_piece(part->bytes, path));
    Message inner(part->bytes, path);
    if (part->number == 2) {  // trainer_spec
      while (const auto field = inner.next()) {
        const auto id = static_cast<int>(static_cast<int64_t>(field->value));
        switch (field->number) {
          case 3: kind = field->value; break;
          case 24: as_suffix = field->value != 0; break;
          case 35: has_bytes = field->value != 0; break;
          case 40: model.unknown = id; break;
          case 41: model.begin = id; break;
          case 42: model.end = id; break;
          default: break;
        }
      }
    } else if (part->number == 3) {  // normalizer_spec
      while (const auto field = inner.next()) {
        switch (field->number) {
          case 2: maps = !field->bytes.empty(); break;
          case 3: model.adds_space = field->value != 0; break;
          case 4: removes_spaces = field->value != 0; break;
          case 5: escapes = field->value != 0; break;
          default: break;
        }
      }
    }
  }
  const auto count = static_cast<int>(model.pieces.size());
  if (count == 0 || model.unknown >= count || model.begin >= count || model.end >= count) {
    throw Error(path + ": is no SentencePiece model");
  }
  const auto refuse = [&](bool is_so, const char* what, const char* remedy) {
    if (!is_so) return;
    throw Error(path + ": " + what + ", and llama.cpp would cut texts otherwise; train it with " +
                remedy);
  };
  constexpr uint64_t k_byte_pairs = 2;
  refuse(kind != k_byte_pairs, "is no model of byte pairs", "model_type=bpe");
  refuse(!has_bytes || !bytes_in_order(model), "has no pieces for bytes", "byte_fallback=true");
  refuse(removes_spaces, "removes white space", "remove_extra_whitespaces=false");
  refuse(maps, "changes characters", "normalization_rule_name=identity");
  refuse(as_suffix, "has spaces at the ends of words", "treat_whitespace_as_suffix=false");
  refuse(!escapes, "does not escape spaces", "escape_whitespaces=true");
  for (const auto& piece : model.pieces) {
    constexpr int k_user_defined = 4, k_unused = 5;
    refuse(piece.type == k_user_defined || piece.type == k_unused,
           "has pieces that are user defined or unused", "none of them");
  }
  return model;
}

}  // namespace napier
