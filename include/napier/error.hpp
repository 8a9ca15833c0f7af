// The one exception type of the library.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace napier {

// Who can mend it: `input` is wrong in what was asked for (argument, file, field, path; exit code 2
// in programs), `environment` is anything else (memory, disk, a lost worker; exit code 1).
enum class Blame { input, environment };

// One clear sentence: the place, the value found there, what would be right. Thrown by every
// function of the library that can be given something wrong; nothing is printed and nothing aborts.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& sentence, Blame blame = Blame::input)
      : std::runtime_error(sentence), blame_(blame) {}

  Blame blame() const { return blame_; }

 private:
  Blame blame_;
};

// An error in a written form (format, arithmetic, plan): names the text, the 1-based position in it
// and what would be right there.
class ParseError : public Error {
 public:
  ParseError(std::string_view text, size_t offset, const std::string& problem)
      : Error(printable("'" + shortened(text, offset) + "', position " +
                        std::to_string(offset + 1) + ": " +
                        (problem.size() > 2000 ? problem.substr(0, 2000) + "..." : problem))),
        offset_(offset) {}

  // 0-based offset into the text given to the parser.
  size_t offset() const { return offset_; }

 private:
  // What surrounds the position, of a very long text.
  static std::string shortened(std::string_view text, size_t offset) {
    constexpr size_t k_around = 100;
    if (text.size() <= 2 * k_around) return std::string(text);
    const size_t begin = offset > k_around ? offset - k_around : 0;
    return (begin > 0 ? "..." : "") + std::string(text.substr(begin, 2 * k_around)) +
           (begin + 2 * k_around < text.size() ? "..." : "");
  }
  // Control characters as '?': a NUL would end the sentence, and positions still count.
  static std::string printable(std::string sentence) {
    for (char& c : sentence) {
      if (static_cast<unsigned char>(c) < ' ') c = '?';
    }
    return sentence;
  }

  size_t offset_;
};

}  // namespace napier
