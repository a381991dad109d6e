// SPDX-License-Identifier: Apache-2.0
#include "served_keys.h"

#include "crypto/base64.h"
#include "key_commands.h"

namespace kmsctl {
namespace {

using kms::KeyVersion;
using kms::MetadataPtr;
using kms::VersionPtr;

std::string member(const json_t* object, const char* name) {
  const json_t* value = json_object_get(object, name);
  return json_is_string(value) ? std::string(kms::hadoop::text_of(value)) : std::string();
}

MetadataPtr metadata_of(json_t* json) {
  auto metadata = std::make_shared<kms::KeyMetadata>();
  metadata->name = member(json, "name");
  metadata->cipher = member(json, "cipher");
  metadata->bit_length =
      static_cast<std::int32_t>(json_integer_value(json_object_get(json, "length")));
  if (json_is_string(json_object_get(json, "description")))
    metadata->description = member(json, "description");
  metadata->created_ms = json_integer_value(json_object_get(json, "created"));
  metadata->versions =
      static_cast<std::int32_t>(json_integer_value(json_object_get(json, "versions")));
  const char* name;
  json_t* value;
  json_object_foreach(json_object_get(json, "attributes"), name, value) if (json_is_string(value))
      metadata->attributes[name] = kms::hadoop::text_of(value);
  return metadata;
}

class ServedKeys final : public kms::KeyStore {
 public:
  explicit ServedKeys(std::shared_ptr<const RestOptions> options)
      : options_(std::move(options)), client_(*options_) {}

  const std::string& uri() const override { return options_->url; }
  Result<void> attach() override { return {}; }
  void poll() noexcept override {}

  Result<std::vector<std::string>> names() override { return key_names(client_); }

  Result<MetadataPtr> metadata(std::string_view name) override {
    auto answer = client_.call("GET", "key/" + RestClient::escape(name) + "/_metadata");
    if (!answer.ok()) return std::move(answer).error();
    // What there is not is an empty object.
    if (json_object_size(answer->get()) == 0) return MetadataPtr();
    return metadata_of(answer->get());
  }

  Result<std::vector<VersionPtr>> versions(std::string_view name) override {
    auto answer = client_.call("GET", "key/" + RestClient::escape(name) + "/_versions");
    if (!answer.ok()) return std::move(answer).error();
    std::vector<VersionPtr> all;
    std::size_t i;
    json_t* json;
    json_array_foreach(answer->get(), i, json) {
      auto version = std::make_shared<KeyVersion>();
      version->name = name;
      version->version_name = member(json, "versionName");
      const json_t* material = json_object_get(json, "material");
      if (!json_is_string(material))
        return Error(ErrorKind::unsupported,
                     "the KMS does not give out the material of " + shown(version->version_name));
      version->material = kms::base64_decode_secret(kms::hadoop::text_of(material));
      kms::hadoop::wipe_member(json, "material");
      all.push_back(std::move(version));
    }
    return all;
  }

  Result<VersionPtr> version(std::string_view version_name) override {
    const auto name = kms::base_name(version_name);
    if (!name) return VersionPtr();
    auto all = versions(*name);
    if (!all.ok()) return std::move(all).error();
    for (VersionPtr& each : *all)
      if (each->version_name == version_name) return std::move(each);
    return VersionPtr();
  }
  Result<VersionPtr> current_version(std::string_view name) override {
    auto all = versions(name);
    if (!all.ok()) return std::move(all).error();
    return all->empty() ? VersionPtr() : all->back();
  }

  Result<VersionPtr> create(std::string_view, const kms::KeyOptions&, const kms::Secret*,
                            const kms::Approval&) override {
    return only_read();
  }
  Result<VersionPtr> roll(std::string_view, const kms::Secret*, const kms::Approval&) override {
    return only_read();
  }
  Result<void> remove(std::string_view, const kms::Approval&) override { return only_read(); }
  Result<void> invalidate(std::string_view) override { return {}; }

 private:
  Error only_read() const { return Error(ErrorKind::unsupported, uri() + " is only read"); }

  const std::shared_ptr<const RestOptions> options_;
  RestClient client_;
};

}  // namespace

bool is_served(std::string_view text) {
  return text.starts_with("http://") || text.starts_with("https://") || text.starts_with("kms://");
}

std::unique_ptr<kms::KeyStore> open_served_keys(std::shared_ptr<const RestOptions> options) {
  return std::make_unique<ServedKeys>(std::move(options));
}

}  // namespace kmsctl
