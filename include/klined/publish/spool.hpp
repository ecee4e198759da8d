// Publications that could not be sent yet, in a file: in order, and safe from a crash.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "klined/base/error.hpp"
#include "klined/publish/publisher.hpp"

namespace klined {

// A queue on disk. What append() accepted is there after a crash of the process or the machine; what pop() removed may
// be there once more after one (delivery is at least once).
//
// File: "KLSPOOL1", then the offset of the first publication that is left and its XXH3 hash, then the publications,
// each as length (4 bytes), XXH3 hash (8 bytes) and bytes; numbers are little-endian. A publication that a crash cut
// off in the middle was never accepted, and is cut off when the file is opened. One process at a time (the file is
// locked), one thread.
class Spool {
 public:
  // Creates the file where there is none. kFatal where it cannot be written, is in use, or is damaged; the message says
  // which.
  static Result<std::unique_ptr<Spool>> open(const std::string& path, std::int64_t max_bytes);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Whether `publication` may be appended; false where the file would grow over its limit (an empty one takes any).
  bool has_room_for(const Publication& publication) const;
  // Durable when it returns. On an error (a full disk) nothing was accepted.
  Status append(std::span<const Publication> publications);
  // The first ones, up to `count` and (but for the very first) `max_bytes` of them; they stay.
  Result<std::vector<Publication>> front(std::size_t count, std::size_t max_bytes) const;
  // Removes the first ones.
  Status pop(std::size_t count);

  bool empty() const { return lengths_.empty(); }
  std::size_t size() const { return lengths_.size(); }
  std::int64_t bytes() const { return end_ - head_; }
  const std::string& path() const { return path_; }

 private:
  Spool(std::string path, int file, std::int64_t max_bytes)
      : path_(std::move(path)), file_(file), max_bytes_(max_bytes) {}
  Status load();
  Status write_head();
  Result<bool> read_at(std::int64_t offset, char* out, std::size_t size) const;
  Result<bool> is_blank(std::int64_t begin, std::int64_t end) const;
  Status cut_off(std::int64_t offset, std::int64_t file_size);
  Error failed(const char* doing) const;

  std::string path_;
  int file_;
  std::int64_t max_bytes_;
  std::int64_t head_ = 0;  // offset in the file of the first publication
  std::int64_t end_ = 0;
  std::int64_t released_ = 0;          // the disk's blocks below were given back
  std::deque<std::uint32_t> lengths_;  // of the publications, frame included
};

}  // namespace klined
