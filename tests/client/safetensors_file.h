// Writes safetensors files for tests, well-formed or not. Thread safe.
#ifndef DISSONANCE_TESTS_CLIENT_SAFETENSORS_FILE_H_
#define DISSONANCE_TESTS_CLIENT_SAFETENSORS_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dissonance {

// The file's bytes: the length of `header`, the header, the data.
inline std::string SafetensorsBytes(const std::string& header,
                                    const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) +
         header + data;
}

// The bytes of numbers in memory.
template <typename T>
std::string BytesOf(const std::vector<T>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()),
          numbers.size() * sizeof(T)};
}

}  // namespace dissonance

#endif  // DISSONANCE_TESTS_CLIENT_SAFETENSORS_FILE_H_
