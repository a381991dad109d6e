// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over files, without a fuzzer: the seeds and every input that once broke it
// stay tests. Arguments are files and folders; without any it takes corpus/NAME for a program
// fuzz_NAME.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

bool replay(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  // Of exactly the input's size, so that a sanitizer sees a read past the end.
  const std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(in), {}};
  if (in.bad() || !in.is_open()) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    return false;
  }
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  return true;
}

// Adds the inputs below path to count; false when one cannot be read.
bool replay_all(const fs::path& path, int& count) {
  if (!fs::is_directory(path)) return replay(path) && ++count > 0;
  for (const auto& entry : fs::recursive_directory_iterator(path))
    if (entry.is_regular_file() && !(replay(entry.path()) && ++count > 0)) return false;
  return true;
}

fs::path own_corpus(const fs::path& program) {
  std::string name = program.filename().string();
  const std::string prefix = "fuzz_";
  if (const auto at = name.find(prefix); at != std::string::npos) name.erase(0, at + prefix.size());
  const char* top = std::getenv("top_srcdir");
  return fs::path(top != nullptr ? top : ".") / "tests" / "fuzz" / "corpus" / name;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<fs::path> paths(argv + 1, argv + argc);
  if (paths.empty()) paths.push_back(own_corpus(argv[0]));
  int count = 0;
  try {
    for (const fs::path& path : paths)
      if (!replay_all(path, count)) return 1;
  } catch (const fs::filesystem_error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::printf("%d inputs\n", count);
  return count > 0 ? 0 : 1;
}
