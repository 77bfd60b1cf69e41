#include "vmm/container/config.h"

#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "vmm/base/status_macros.h"
#include "vmm/container/names.h"

namespace hull::container {
namespace {

using nlohmann::json;

// ---- Writing: a few appends, so that starting a container need not build a tree of values first.

class ObjectWriter {
 public:
  void Add(absl::string_view key, uint64_t value) { Key(key), absl::StrAppend(&text_, value); }
  void Add(absl::string_view key, int64_t value) { Key(key), absl::StrAppend(&text_, value); }
  void Add(absl::string_view key, int32_t value) { Add(key, int64_t{value}); }
  void Add(absl::string_view key, uint32_t value) { Add(key, uint64_t{value}); }
  void Add(absl::string_view key, bool value) { Key(key), text_ += value ? "true" : "false"; }
  void Add(absl::string_view key, absl::string_view value) { Key(key), AppendString(value); }
  void Add(absl::string_view key, const std::vector<std::string>& values) {
    Key(key);
    text_ += '[';
    for (size_t i = 0; i < values.size(); ++i) {
      if (i > 0) text_ += ',';
      AppendString(values[i]);
    }
    text_ += ']';
  }
  void Add(absl::string_view key, std::vector<ObjectWriter> values) {
    Key(key);
    text_ += '[';
    for (size_t i = 0; i < values.size(); ++i) {
      if (i > 0) text_ += ',';
      text_ += std::move(values[i]).Finish();
    }
    text_ += ']';
  }
  void AddObject(absl::string_view key, ObjectWriter value) {
    Key(key), text_ += std::move(value).Finish();
  }

  std::string Finish() && {
    text_ += text_.empty() ? "{}" : "}";
    return std::move(text_);
  }

 private:
  void Key(absl::string_view key) {
    text_ += text_.empty() ? '{' : ',';
    absl::StrAppend(&text_, "\"", key, "\":");
  }

  // JSON is UTF-8 and arguments are any bytes, so a string with a byte above 0x7e is written as
  // {"hex": "..."}: rare enough that a shorter form is not worth a UTF-8 validator.
  void AppendString(absl::string_view value) {
    for (const char c : value) {
      if (static_cast<unsigned char>(c) > 0x7e) {
        absl::StrAppend(&text_, "{\"hex\":\"", absl::BytesToHexString(value), "\"}");
        return;
      }
    }
    text_ += '"';
    for (const char c : value) {
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        absl::StrAppend(&text_, "\\u00", absl::BytesToHexString(absl::string_view(&c, 1)));
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }

  std::string text_;
};

// ---- Reading: each Take consumes a field; what is left in the end is unknown.

absl::Status Wrong(absl::string_view key, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("field \"", key, "\" ", what));
}

bool StringFromJson(json& value, std::string* out) {
  if (value.is_string()) {
    *out = std::move(value.get_ref<std::string&>());
    return true;
  }
  if (!value.is_object() || value.size() != 1) return false;
  const auto hex = value.find("hex");
  if (hex == value.end() || !hex->is_string()) return false;
  const std::string& digits = hex->get_ref<const std::string&>();
  if (digits.size() % 2 != 0) return false;
  for (const char c : digits) {
    if (!absl::ascii_isxdigit(c)) return false;
  }
  *out = absl::HexStringToBytes(digits);
  return true;
}

class ObjectReader {
 public:
  // Remembers the first error; the Takes after it do nothing.
  explicit ObjectReader(json object) : object_(std::move(object)) {
    if (!object_.is_object()) status_ = absl::InvalidArgumentError("not a JSON object");
  }

  void Take(const char* key, uint64_t* out) {
    TakeInteger(key, out, [](const json& v) { return v.is_number_unsigned(); });
  }
  void Take(const char* key, int64_t* out) {
    TakeInteger(key, out, [](const json& v) {
      return v.is_number_unsigned()
                 ? v.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()}
                 : v.is_number_integer();
    });
  }
  void Take(const char* key, int32_t* out) {
    int64_t wide = 0;
    Take(key, &wide);
    if (status_.ok() && wide != static_cast<int32_t>(wide)) status_ = Wrong(key, "is out of range");
    *out = static_cast<int32_t>(wide);
  }
  void Take(const char* key, uint32_t* out) {
    uint64_t wide = 0;
    Take(key, &wide);
    if (status_.ok() && wide != static_cast<uint32_t>(wide)) {
      status_ = Wrong(key, "is out of range");
    }
    *out = static_cast<uint32_t>(wide);
  }
  void Take(const char* key, bool* out) {
    json value = TakeValue(key);
    if (!status_.ok()) return;
    if (!value.is_boolean()) {
      status_ = Wrong(key, "is not true or false");
      return;
    }
    *out = value.get<bool>();
  }
  void Take(const char* key, std::string* out) {
    json value = TakeValue(key);
    if (!status_.ok()) return;
    if (!StringFromJson(value, out)) status_ = Wrong(key, "is not a string");
    if (out->find('\0') != std::string::npos) status_ = Wrong(key, "holds a NUL byte");
  }
  void Take(const char* key, std::vector<std::string>* out) {
    json value = TakeValue(key);
    if (!status_.ok()) return;
    if (!value.is_array()) {
      status_ = Wrong(key, "is not a list");
      return;
    }
    for (json& element : value) {
      std::string text;
      if (!StringFromJson(element, &text) || text.find('\0') != std::string::npos) {
        status_ = Wrong(key, "is not a list of strings");
        return;
      }
      out->push_back(std::move(text));
    }
  }
  bool Has(const char* key) const { return status_.ok() && object_.contains(key); }
  json TakeObject(const char* key) {
    json value = TakeValue(key);
    if (status_.ok() && !value.is_object()) status_ = Wrong(key, "is not an object");
    return value;
  }
  std::vector<json> TakeObjects(const char* key) {
    json value = TakeValue(key);
    std::vector<json> objects;
    if (!status_.ok()) return objects;
    if (!value.is_array()) {
      status_ = Wrong(key, "is not a list");
      return objects;
    }
    for (json& element : value) objects.push_back(std::move(element));
    return objects;
  }
  void CheckVersion(uint64_t known) {
    uint64_t version = 0;
    Take("version", &version);
    if (status_.ok() && version != known) {
      status_ = absl::FailedPreconditionError(absl::StrCat(
          "version ", version, " is not the version that this Hull knows (", known, ")"));
    }
  }

  // After the last Take.
  absl::Status Finish() {
    if (status_.ok() && !object_.empty()) {
      status_ = Wrong(absl::CHexEscape(object_.begin().key().substr(0, 60)), "is unknown");
    }
    return status_;
  }

 private:
  json TakeValue(const char* key) {
    if (!status_.ok()) return json();
    const auto it = object_.find(key);
    if (it == object_.end()) {
      status_ = Wrong(key, "is missing");
      return json();
    }
    json value = std::move(*it);
    object_.erase(it);
    return value;
  }
  template <typename T, typename Check>
  void TakeInteger(const char* key, T* out, Check check) {
    const json value = TakeValue(key);
    if (!status_.ok()) return;
    if (!check(value)) {
      status_ = Wrong(key, "is not a number in range");
      return;
    }
    *out = value.get<T>();
  }

  json object_;
  absl::Status status_;
};

// nlohmann's parser recurses in no way on input, but a tree of a million arrays is destroyed
// recursively; no file of ours is deeper than this.
constexpr int kMaxDepth = 6;

absl::StatusOr<json> ParseObject(absl::string_view text) {
  bool too_deep = false;
  const json::parser_callback_t limit_depth = [&too_deep](int depth, json::parse_event_t, json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  json value = json::parse(text.begin(), text.end(), limit_depth, /*allow_exceptions=*/false);
  if (too_deep || value.is_discarded()) return absl::InvalidArgumentError("not valid JSON");
  return value;
}

std::vector<ObjectWriter> WriteMounts(const std::vector<Mount>& mounts) {
  std::vector<ObjectWriter> objects;
  for (const Mount& mount : mounts) {
    ObjectWriter& object = objects.emplace_back();
    object.Add("tmpfs", mount.type == MountType::kTmpfs);
    object.Add("volume", mount.volume);
    object.Add("target", mount.target);
    object.Add("read_only", mount.read_only);
    object.Add("allow_exec", mount.allow_exec);
    object.Add("allow_suid", mount.allow_suid);
    object.Add("allow_devices", mount.allow_devices);
    object.Add("copy_image", mount.copy_image);
    object.Add("tmpfs_bytes", mount.tmpfs_bytes);
    object.Add("tmpfs_mode", mount.tmpfs_mode);
  }
  return objects;
}

absl::StatusOr<std::vector<Mount>> ReadMounts(std::vector<json> objects) {
  std::vector<Mount> mounts;
  for (json& element : objects) {
    ObjectReader object(std::move(element));
    Mount& mount = mounts.emplace_back();
    bool tmpfs = false;
    object.Take("tmpfs", &tmpfs);
    object.Take("volume", &mount.volume);
    object.Take("target", &mount.target);
    object.Take("read_only", &mount.read_only);
    object.Take("allow_exec", &mount.allow_exec);
    object.Take("allow_suid", &mount.allow_suid);
    object.Take("allow_devices", &mount.allow_devices);
    object.Take("copy_image", &mount.copy_image);
    object.Take("tmpfs_bytes", &mount.tmpfs_bytes);
    object.Take("tmpfs_mode", &mount.tmpfs_mode);
    HULL_RETURN_IF_ERROR(object.Finish());
    mount.type = tmpfs ? MountType::kTmpfs : MountType::kVolume;
    // It becomes part of a path.
    if (!mount.volume.empty()) HULL_RETURN_IF_ERROR(ValidateName(mount.volume));
  }
  HULL_RETURN_IF_ERROR(ValidateMounts(mounts));
  return mounts;
}

absl::StatusOr<Display> ReadDisplay(json object_of_display) {
  ObjectReader object(std::move(object_of_display));
  Display display;
  uint32_t port = 0;
  object.Take("protocol", &display.protocol);
  object.Take("address", &display.address);
  object.Take("port", &port);
  object.Take("password_file", &display.password_file);
  HULL_RETURN_IF_ERROR(object.Finish());
  if (display.protocol != "vnc") return Wrong("protocol", "is unknown");
  // A Unix socket has none.
  const bool unix_socket = absl::StartsWith(display.address, "/");
  if ((port == 0) != unix_socket || port > UINT16_MAX) return Wrong("port", "is out of range");
  display.port = static_cast<uint16_t>(port);
  return display;
}

constexpr std::pair<Status, const char*> kStatusNames[] = {
    {Status::kCreated, "created"}, {Status::kRunning, "running"}, {Status::kPaused, "paused"},
    {Status::kExited, "exited"},   {Status::kFailed, "failed"},
};

}  // namespace

std::string SerializeConfig(const Config& config) {
  ObjectWriter process;
  process.Add("args", config.process.args);
  process.Add("environment", config.process.environment);
  process.Add("working_directory", config.process.working_directory);
  process.Add("user", config.process.user);
  process.Add("attach_stdin", config.process.attach_stdin);
  process.Add("terminal", config.process.terminal);
  process.Add("terminal_rows", uint32_t{config.process.terminal_size.rows});
  process.Add("terminal_columns", uint32_t{config.process.terminal_size.columns});

  ObjectWriter object;
  object.Add("version", kConfigVersion);
  object.Add("id", config.id);
  object.Add("name", config.name);
  object.Add("created_unix_ms", config.created_unix_ms);
  object.Add("image", config.image);
  object.Add("image_digest", config.image_digest);
  object.Add("root_image", config.root_image);
  object.AddObject("process", std::move(process));
  object.Add("hostname", config.hostname);
  object.Add("read_only", config.read_only);
  object.Add("console", config.console);
  object.Add("remove", config.remove);
  object.Add("cpus", config.cpus);
  object.Add("cpu_millis", config.cpu_millis);
  object.Add("memory_bytes", config.memory_bytes);
  object.Add("storage_bytes", config.storage_bytes);
  object.Add("mounts", WriteMounts(config.mounts));
  object.Add("labels", config.labels);
  object.Add("stop_signal", config.stop_signal);
  object.Add("stop_timeout_seconds", config.stop_timeout_seconds);
  object.Add("log_max_bytes", config.log_max_bytes);
  // Not there for other containers, so that a Hull which does not know it reads those.
  if (config.pc.has_value()) {
    ObjectWriter pc;
    pc.Add("boot", config.pc->boot);
    if (config.pc->display.has_value()) {
      const Display& display = *config.pc->display;
      ObjectWriter object_of_display;
      object_of_display.Add("protocol", display.protocol);
      object_of_display.Add("address", display.address);
      object_of_display.Add("port", uint64_t{display.port});
      object_of_display.Add("password_file", display.password_file);
      pc.AddObject("display", std::move(object_of_display));
    }
    object.AddObject("pc", std::move(pc));
  }
  return std::move(object).Finish();
}

absl::StatusOr<Config> ParseConfig(absl::string_view text) {
  HULL_ASSIGN_OR_RETURN(json parsed, ParseObject(text));
  ObjectReader object(std::move(parsed));
  Config config;
  object.CheckVersion(kConfigVersion);
  object.Take("id", &config.id);
  object.Take("name", &config.name);
  object.Take("created_unix_ms", &config.created_unix_ms);
  object.Take("image", &config.image);
  object.Take("image_digest", &config.image_digest);
  object.Take("root_image", &config.root_image);
  json process_object = object.TakeObject("process");
  object.Take("hostname", &config.hostname);
  object.Take("read_only", &config.read_only);
  object.Take("console", &config.console);
  object.Take("remove", &config.remove);
  object.Take("cpus", &config.cpus);
  object.Take("cpu_millis", &config.cpu_millis);
  object.Take("memory_bytes", &config.memory_bytes);
  object.Take("storage_bytes", &config.storage_bytes);
  std::vector<json> mounts = object.TakeObjects("mounts");
  object.Take("labels", &config.labels);
  object.Take("stop_signal", &config.stop_signal);
  object.Take("stop_timeout_seconds", &config.stop_timeout_seconds);
  object.Take("log_max_bytes", &config.log_max_bytes);
  std::optional<json> pc_object;
  if (object.Has("pc")) pc_object = object.TakeObject("pc");
  HULL_RETURN_IF_ERROR(object.Finish());
  HULL_ASSIGN_OR_RETURN(config.mounts, ReadMounts(std::move(mounts)));
  if (pc_object.has_value()) {
    ObjectReader pc(*std::move(pc_object));
    pc.Take("boot", &config.pc.emplace().boot);
    std::optional<json> display_object;
    if (pc.Has("display")) display_object = pc.TakeObject("display");
    HULL_RETURN_IF_ERROR(pc.Finish());
    if (display_object.has_value()) {
      HULL_ASSIGN_OR_RETURN(config.pc->display, ReadDisplay(*std::move(display_object)));
    }
  }

  ObjectReader process(std::move(process_object));
  process.Take("args", &config.process.args);
  process.Take("environment", &config.process.environment);
  process.Take("working_directory", &config.process.working_directory);
  process.Take("user", &config.process.user);
  process.Take("attach_stdin", &config.process.attach_stdin);
  process.Take("terminal", &config.process.terminal);
  uint32_t rows = 0;
  uint32_t columns = 0;
  process.Take("terminal_rows", &rows);
  process.Take("terminal_columns", &columns);
  HULL_RETURN_IF_ERROR(process.Finish());
  if (rows > UINT16_MAX || columns > UINT16_MAX) return Wrong("terminal_rows", "is out of range");
  config.process.terminal_size = {.rows = static_cast<uint16_t>(rows),
                                  .columns = static_cast<uint16_t>(columns)};
  return config;
}

bool HasDisks(const Config& config) {
  if (config.storage_bytes > 0) return true;
  for (const Mount& mount : config.mounts) {
    if (mount.type == MountType::kVolume) return true;
  }
  return false;
}

const char* StatusName(Status status) {
  for (const auto& [known, name] : kStatusNames) {
    if (known == status) return name;
  }
  return "unknown";
}

std::string SerializeState(const State& state) {
  ObjectWriter object;
  object.Add("version", kStateVersion);
  object.Add("status", absl::string_view(StatusName(state.status)));
  object.Add("started_unix_ms", state.started_unix_ms);
  object.Add("finished_unix_ms", state.finished_unix_ms);
  object.Add("monitor_pid", state.monitor_pid);
  object.Add("vmm_pid", state.vmm_pid);
  object.Add("exit_status", state.exit_status);
  object.Add("error", state.error);
  return std::move(object).Finish();
}

absl::StatusOr<State> ParseState(absl::string_view text) {
  HULL_ASSIGN_OR_RETURN(json parsed, ParseObject(text));
  ObjectReader object(std::move(parsed));
  State state;
  std::string status_name;
  object.CheckVersion(kStateVersion);
  object.Take("status", &status_name);
  object.Take("started_unix_ms", &state.started_unix_ms);
  object.Take("finished_unix_ms", &state.finished_unix_ms);
  object.Take("monitor_pid", &state.monitor_pid);
  object.Take("vmm_pid", &state.vmm_pid);
  object.Take("exit_status", &state.exit_status);
  object.Take("error", &state.error);
  HULL_RETURN_IF_ERROR(object.Finish());
  for (const auto& [status, name] : kStatusNames) {
    if (status_name == name) {
      state.status = status;
      return state;
    }
  }
  return Wrong("status", "is unknown");
}

}  // namespace hull::container
