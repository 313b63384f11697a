#include "io/byte_stream.h"

#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "awq/error.h"
#include "io/escape.h"
#include "io/file.h"

namespace awq::io {
namespace fs = std::filesystem;
namespace {

constexpr size_t kChunk = size_t{1} << 18;
constexpr int kMaxWindowLog = 27;  // zstd: 128 MiB of history, its own default limit

class PlainStream : public ByteStream {
 public:
  explicit PlainStream(const fs::path& path) : file_(path) {}
  size_t read(std::span<char> out) override {
    const auto now = out.first(std::min<uint64_t>(out.size(), file_.size() - at_));
    file_.read_at(at_, std::as_writable_bytes(now));
    at_ += now.size();
    return now.size();
  }
  const fs::path& path() const { return file_.path(); }

 private:
  File file_;
  uint64_t at_ = 0;
};

class StdinStream : public ByteStream {
 public:
  size_t read(std::span<char> out) override {
    size_t filled = 0;
    while (filled < out.size()) {
      const ssize_t got = ::read(STDIN_FILENO, out.data() + filled, out.size() - filled);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0)
        throw Error(ErrorKind::kBadInput, fmt::format("cannot read standard input: {}", std::strerror(errno)));
      if (got == 0) break;
      filled += static_cast<size_t>(got);
    }
    return filled;
  }
};

class CompressedStream : public ByteStream {
 protected:
  explicit CompressedStream(const fs::path& path) : file_(path), input_(kChunk) {}

  std::span<char> next_input() { return std::span(input_).first(file_.read(input_)); }
  [[noreturn]] void fail(std::string_view why) const {
    throw Error(ErrorKind::kBadInput,
                fmt::format("{} cannot be decompressed: {}", printable(file_.path().native()), why));
  }
  static constexpr const char* kTruncated = "it ends in the middle of the data; download it again";

 private:
  PlainStream file_;
  std::vector<char> input_;
};

class GzipStream : public CompressedStream {
 public:
  explicit GzipStream(const fs::path& path) : CompressedStream(path) {
    if (inflateInit2(&z_, MAX_WBITS + 16) != Z_OK) throw std::bad_alloc();  // + 16: gzip framing
  }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;
  ~GzipStream() override { inflateEnd(&z_); }

  size_t read(std::span<char> out) override {
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = static_cast<uInt>(out.size());
    while (z_.avail_out > 0) {
      if (z_.avail_in == 0 && !refill()) break;
      const int result = inflate(&z_, Z_NO_FLUSH);
      inside_ = result != Z_STREAM_END;
      if (result == Z_STREAM_END)
        inflateReset(&z_);  // a gzip file may be several, one after the other
      else if (result != Z_OK)
        fail(z_.msg ? z_.msg : "it is not gzip data");
    }
    return out.size() - z_.avail_out;
  }

 private:
  bool refill() {
    const std::span<char> input = next_input();
    if (input.empty() && inside_) fail(kTruncated);
    z_.next_in = reinterpret_cast<Bytef*>(input.data());
    z_.avail_in = static_cast<uInt>(input.size());
    return !input.empty();
  }

  z_stream z_{};
  bool inside_ = true;
};

class ZstdStream : public CompressedStream {
 public:
  explicit ZstdStream(const fs::path& path) : CompressedStream(path), context_(ZSTD_createDCtx()) {
    if (!context_) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, kMaxWindowLog);
  }

  size_t read(std::span<char> out) override {
    ZSTD_outBuffer target{out.data(), out.size(), 0};
    while (target.pos < target.size) {
      if (source_.pos == source_.size && !refill()) break;
      const size_t result = ZSTD_decompressStream(context_.get(), &target, &source_);
      if (ZSTD_isError(result)) fail(ZSTD_getErrorName(result));
      inside_ = result != 0;
    }
    return target.pos;
  }

 private:
  bool refill() {
    const std::span<char> input = next_input();
    if (input.empty() && inside_) fail(kTruncated);
    source_ = {input.data(), input.size(), 0};
    return !input.empty();
  }

  struct Free {
    void operator()(ZSTD_DCtx* c) const { ZSTD_freeDCtx(c); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  ZSTD_inBuffer source_{nullptr, 0, 0};
  bool inside_ = true;
};

}  // namespace

std::unique_ptr<ByteStream> open_stream(const fs::path& path) {
  if (path.extension() == ".gz") return std::make_unique<GzipStream>(path);
  if (path.extension() == ".zst") return std::make_unique<ZstdStream>(path);
  return std::make_unique<PlainStream>(path);
}

std::unique_ptr<ByteStream> open_stdin() { return std::make_unique<StdinStream>(); }

std::string read_up_to(ByteStream& stream, size_t max_bytes, bool& cut) {
  std::string text;
  for (;;) {
    const size_t had = text.size(), want = std::min(kChunk, max_bytes - had);
    char beyond;
    if (want == 0) {
      cut = stream.read({&beyond, 1}) > 0;
      return text;
    }
    text.resize(had + want);
    const size_t got = stream.read(std::span(text).subspan(had));
    text.resize(had + got);
    cut = false;
    if (got < want) return text;
  }
}

}  // namespace awq::io
