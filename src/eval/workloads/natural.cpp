#include "eval/workloads/natural.hpp"

#include <openssl/bn.h>
#include <openssl/crypto.h>

#include <utility>

#include "napier/error.hpp"

namespace napier {
namespace {

// OpenSSL's functions fail for want of memory alone.
void require(bool done) {
  if (!done) throw Error("memory ran out", Blame::environment);
}

BN_CTX* scratch() {
  thread_local const std::unique_ptr<BN_CTX, decltype(&BN_CTX_free)> context(BN_CTX_new(),
                                                                             BN_CTX_free);
  require(context != nullptr);
  return context.get();
}

}  // namespace

void Natural::Deleter::operator()(BIGNUM* number) const { BN_free(number); }

Natural::Natural(uint64_t value) : number_(BN_new()) {
  require(number_ && BN_set_word(number_.get(), value) == 1);
}

Natural::Natural(std::string_view digits) {
  BIGNUM* number = nullptr;
  require(BN_dec2bn(&number, std::string(digits).c_str()) > 0);
  number_.reset(number);
}

Natural::Natural(const Natural& other) : number_(BN_dup(other.number_.get())) {
  require(number_ != nullptr);
}

Natural& Natural::operator=(Natural other) {
  number_ = std::move(other.number_);
  return *this;
}

std::string Natural::digits() const {
  char* text = BN_bn2dec(number_.get());
  require(text != nullptr);
  std::string result = text;
  OPENSSL_free(text);
  return result;
}

bool Natural::is_zero() const { return BN_is_zero(number_.get()); }

Natural operator+(const Natural& a, const Natural& b) {
  Natural result;
  require(BN_add(result.number_.get(), a.number_.get(), b.number_.get()));
  return result;
}

Natural operator-(const Natural& a, const Natural& b) {
  Natural result;
  require(BN_sub(result.number_.get(), a.number_.get(), b.number_.get()));
  return result;
}

Natural operator*(const Natural& a, const Natural& b) {
  Natural result;
  require(BN_mul(result.number_.get(), a.number_.get(), b.number_.get(), scratch()));
  return result;
}

Natural operator/(const Natural& a, const Natural& b) {
  Natural result;
  require(BN_div(result.number_.get(), nullptr, a.number_.get(), b.number_.get(), scratch()));
  return result;
}

Natural operator%(const Natural& a, const Natural& b) {
  Natural result;
  require(BN_div(nullptr, result.number_.get(), a.number_.get(), b.number_.get(), scratch()));
  return result;
}

Natural greatest_divisor(const Natural& a, const Natural& b) {
  Natural result;
  require(BN_gcd(result.number_.get(), a.number_.get(), b.number_.get(), scratch()));
  return result;
}

std::strong_ordering operator<=>(const Natural& a, const Natural& b) {
  return BN_cmp(a.number_.get(), b.number_.get()) <=> 0;
}

Natural power(int base, int exponent) {
  Natural result(1);
  for (int i = 0; i < exponent; ++i) {
    result = result * Natural(static_cast<uint64_t>(base));
  }
  return result;
}

}  // namespace napier
