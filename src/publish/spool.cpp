#include "klined/publish/spool.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <system_error>

namespace klined {

namespace {

constexpr std::string_view kMagic = "KLSPOOL1";
constexpr std::int64_t kHeaderBytes = 24;  // magic, head, hash of the head
constexpr std::size_t kFrameBytes = 12;    // length, hash
constexpr std::int64_t kReleaseBytes = 64LL << 20U;
static_assert(std::endian::native == std::endian::little, "the spool file is little-endian");

template <typename Integer>
void put(std::string& out, Integer value) {
  std::array<char, sizeof(Integer)> bytes;
  std::memcpy(bytes.data(), &value, sizeof(Integer));
  out.append(bytes.data(), bytes.size());
}

// The number that the bytes begin with.
template <typename Integer>
Integer get(std::span<const char> bytes) {
  std::array<char, sizeof(Integer)> raw;
  std::ranges::copy(bytes.first(sizeof(Integer)), raw.begin());
  return std::bit_cast<Integer>(raw);
}

void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  out += text;
}

// Takes the front of `bytes`; false where they are too few.
bool take_text(std::string_view& bytes, std::string& out) {
  if (bytes.size() < 4) return false;
  const std::size_t size = get<std::uint32_t>(bytes);
  if (bytes.size() - 4 < size) return false;
  out.assign(bytes.substr(4, size));
  bytes.remove_prefix(4 + size);
  return true;
}

std::uint64_t hash_of(std::string_view body) { return XXH3_64bits(body.data(), body.size()); }

// Length and hash in front.
std::string frame(const Publication& publication) {
  std::string body;
  put(body, publication.timestamp_ms);
  put_text(body, publication.topic);
  put_text(body, publication.key);
  put_text(body, publication.value);
  for (const auto& [name, value] : publication.headers) {
    put_text(body, name);
    put_text(body, value);
  }
  std::string framed;
  framed.reserve(kFrameBytes + body.size());
  put(framed, static_cast<std::uint32_t>(body.size()));
  put(framed, hash_of(body));
  return framed += body;
}

bool unframe(std::string_view framed, Publication& out) {
  std::string_view body = framed.substr(kFrameBytes);
  if (get<std::uint64_t>(framed.substr(4)) != hash_of(body)) return false;
  if (body.size() < 8) return false;
  out.timestamp_ms = get<std::int64_t>(body);
  body.remove_prefix(8);
  if (!take_text(body, out.topic) || !take_text(body, out.key) || !take_text(body, out.value)) return false;
  while (!body.empty()) {
    auto& [name, value] = out.headers.emplace_back();
    if (!take_text(body, name) || !take_text(body, value)) return false;
  }
  return true;
}

}  // namespace

Error Spool::failed(const char* doing) const {
  return {ErrorKind::kFatal, fmt::format("spool file {} cannot be {}: {}; mend that, or name another file by --spool",
                                         path_, doing, std::generic_category().message(errno))};
}

Result<std::unique_ptr<Spool>> Spool::open(const std::string& path, std::int64_t max_bytes) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): the system's interface
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  std::unique_ptr<Spool> spool(new Spool(path, file, max_bytes));
  if (file < 0) return std::unexpected(spool->failed("opened"));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    return fatal(
        fmt::format("spool file {} is in use by another process: wait for it, or name another file by --spool", path));
  }
  if (Status loaded = spool->load(); !loaded) return std::unexpected(loaded.error());
  return spool;
}

Spool::~Spool() {
  if (file_ >= 0) ::close(file_);
}

// True where all of `size` bytes were there.
Result<bool> Spool::read_at(std::int64_t offset, char* out, std::size_t size) const {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(file_, out + done, size - done, offset + static_cast<std::int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(failed("read"));
    if (got == 0) return false;
    done += static_cast<std::size_t>(got);
  }
  return true;
}

Status Spool::load() {
  struct stat info{};
  if (::fstat(file_, &info) != 0) return std::unexpected(failed("read"));
  head_ = end_ = released_ = kHeaderBytes;
  if (info.st_size < kHeaderBytes) {  // new, or cut off by a crash when it was new
    return write_head();
  }
  std::array<char, kHeaderBytes> header;
  if (const auto there = read_at(0, header.data(), header.size()); !there) return std::unexpected(there.error());
  head_ = get<std::int64_t>(std::span(header).subspan(8));
  const bool sound = std::string_view(header.data(), 8) == kMagic && head_ >= kHeaderBytes &&
                     get<std::uint64_t>(std::span(header).subspan(16)) == hash_of({header.data(), 16});
  if (!sound)
    return fatal(fmt::format("{} is no spool file, or damaged at its beginning: name another by --spool", path_));
  if (head_ > info.st_size) {  // a crash in the middle of pop()
    head_ = kHeaderBytes;
    return write_head();
  }
  end_ = head_;
  std::string framed;
  while (end_ < info.st_size) {
    const std::int64_t left = info.st_size - end_;
    std::array<char, 4> length_bytes;
    if (left < static_cast<std::int64_t>(kFrameBytes)) return cut_off(end_, info.st_size);
    if (const auto there = read_at(end_, length_bytes.data(), 4); !there) return std::unexpected(there.error());
    const std::int64_t length = static_cast<std::int64_t>(kFrameBytes) + get<std::uint32_t>(length_bytes);
    if (length > left) return cut_off(end_, info.st_size);
    framed.resize(static_cast<std::size_t>(length));
    if (const auto there = read_at(end_, framed.data(), framed.size()); !there) return std::unexpected(there.error());
    Publication publication;
    if (!unframe(framed, publication)) {
      const Result<bool> blank = length == left ? true : is_blank(end_, info.st_size);
      if (!blank) return std::unexpected(blank.error());
      if (*blank) return cut_off(end_, info.st_size);
      return fatal(
          fmt::format("spool file {} is damaged at byte {}, {} publications in front of that are sound: keep a copy, "
                      "then cut it there by `truncate --size={} {}`",
                      path_, end_, lengths_.size(), end_, path_));
    }
    lengths_.push_back(static_cast<std::uint32_t>(length));
    end_ += length;
  }
  return {};
}

// Whether there are only zeros: what some file systems leave of a write that a crash cut off.
Result<bool> Spool::is_blank(std::int64_t begin, std::int64_t end) const {
  std::array<char, 65'536> chunk;
  while (begin < end) {
    const auto size = static_cast<std::size_t>(std::min<std::int64_t>(end - begin, chunk.size()));
    if (const auto there = read_at(begin, chunk.data(), size); !there) return there;
    if (std::string_view(chunk.data(), size).find_first_not_of('\0') != std::string_view::npos) return false;
    begin += static_cast<std::int64_t>(size);
  }
  return true;
}

Status Spool::cut_off(std::int64_t offset, std::int64_t file_size) {
  spdlog::warn("a crash cut the last publication of spool file {} off, it was never accepted: bytes={}", path_,
               file_size - offset);
  if (::ftruncate(file_, offset) != 0 || ::fdatasync(file_) != 0) return std::unexpected(failed("cut"));
  return {};
}

Status Spool::write_head() {
  std::string header(kMagic);
  put(header, head_);
  put(header, static_cast<std::uint64_t>(XXH3_64bits(header.data(), header.size())));
  if (::pwrite(file_, header.data(), header.size(), 0) != kHeaderBytes) return std::unexpected(failed("written"));
  return {};
}

bool Spool::has_room_for(const Publication& publication) const {
  return empty() || bytes() + static_cast<std::int64_t>(publication.value.size()) <= max_bytes_;
}

Status Spool::append(std::span<const Publication> publications) {
  std::string framed;
  std::vector<std::uint32_t> lengths;
  for (const Publication& publication : publications) {
    const std::string one = frame(publication);
    lengths.push_back(static_cast<std::uint32_t>(one.size()));
    framed += one;
  }
  std::size_t done = 0;
  while (done < framed.size()) {
    const ssize_t put_now =
        ::pwrite(file_, framed.data() + done, framed.size() - done, end_ + static_cast<std::int64_t>(done));
    if (put_now < 0 && errno == EINTR) continue;
    if (put_now <= 0) break;
    done += static_cast<std::size_t>(put_now);
  }
  if (done < framed.size() || ::fdatasync(file_) != 0) {
    const Error error = failed("written");
    if (::ftruncate(file_, end_) != 0) spdlog::warn("{}", failed("cut").message);  // else it is cut when it is opened
    return std::unexpected(error);
  }
  end_ += static_cast<std::int64_t>(framed.size());
  lengths_.insert(lengths_.end(), lengths.begin(), lengths.end());
  return {};
}

Result<std::vector<Publication>> Spool::front(std::size_t count, std::size_t max_bytes) const {
  std::vector<Publication> publications;
  std::int64_t offset = head_;
  std::string framed;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < std::min(count, lengths_.size()); ++i) {
    bytes += lengths_[i];
    if (i > 0 && bytes > max_bytes) break;
    framed.resize(lengths_[i]);
    const auto there = read_at(offset, framed.data(), framed.size());
    if (!there) return std::unexpected(there.error());
    if (!*there || !unframe(framed, publications.emplace_back())) {
      return fatal(fmt::format("spool file {} was changed by another program at byte {}", path_, offset));
    }
    offset += lengths_[i];
  }
  return publications;
}

Status Spool::pop(std::size_t count) {
  for (std::size_t i = 0; i < count && !lengths_.empty(); ++i) {
    head_ += lengths_.front();
    lengths_.pop_front();
  }
  if (lengths_.empty()) {
    // A crash in between leaves a head behind the file's end: load() knows that as empty.
    if (::ftruncate(file_, kHeaderBytes) != 0) return std::unexpected(failed("cut"));
    head_ = end_ = released_ = kHeaderBytes;
    return write_head();
  }
  if (head_ - released_ > kReleaseBytes) {  // best effort: not every file system can
    if (::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kHeaderBytes, head_ - kHeaderBytes) == 0) {
      released_ = head_;
    }
  }
  return write_head();
}

}  // namespace klined
