// SPDX-License-Identifier: Apache-2.0
#include "hadoop/exceptions.h"

#include "hadoop/wire_json.h"

namespace kms::hadoop {

WireError wire_error(ErrorKind kind) {
  constexpr std::string_view kIo = "java.io.IOException";
  constexpr std::string_view kWeb = "javax.ws.rs.WebApplicationException";
  switch (kind) {
    case ErrorKind::invalid_argument:
      return {400, "java.lang.IllegalArgumentException"};
    case ErrorKind::invalid_key_length:
      return {400, "java.security.InvalidParameterException"};
    case ErrorKind::unsupported:
      return {400, "java.lang.UnsupportedOperationException"};
    case ErrorKind::unknown_cipher:
      return {500, "java.lang.reflect.UndeclaredThrowableException"};
    case ErrorKind::wrong_type:
      return {500, "java.lang.ClassCastException"};
    case ErrorKind::null_value:
      return {500, "java.lang.NullPointerException"};
    case ErrorKind::malformed_json:
      return {500, "com.fasterxml.jackson.core.JsonParseException"};
    case ErrorKind::unexpected_json:
      return {500, "com.fasterxml.jackson.databind.exc.MismatchedInputException"};
    case ErrorKind::invalid_query:
      return {500, "com.sun.jersey.api.ParamException$QueryParamException"};
    // What no client tries again, nor at another server.
    case ErrorKind::key_state:
    case ErrorKind::not_authorized:
      return {403, "org.apache.hadoop.security.authorize.AuthorizationException"};
    case ErrorKind::authentication:
      return {403, "org.apache.hadoop.security.authentication.client.AuthenticationException"};
    case ErrorKind::no_such_route:
      return {404, "com.sun.jersey.api.NotFoundException"};
    case ErrorKind::method_not_allowed:
      return {405, kWeb};
    case ErrorKind::not_acceptable:
      return {406, kWeb};
    case ErrorKind::unsupported_media_type:
    case ErrorKind::missing_media_type:
      return {415, kWeb};
    case ErrorKind::too_large:
      return {413, kIo};
    case ErrorKind::unavailable:
      return {503, kIo};
    // The one class with which a client goes on to its next server and waits between the rounds,
    // whatever the operation. With an IOException it would not wait, and give up a create or roll.
    case ErrorKind::rate_limited:
      return {429, "org.apache.hadoop.ipc.StandbyException"};
    case ErrorKind::io:
    case ErrorKind::configuration:
    case ErrorKind::corrupt:
    case ErrorKind::wrong_password:
    case ErrorKind::internal:
      return {500, kIo};
  }
  return {500, kIo};
}

std::string remote_exception_json(const Error& error) {
  const std::string_view java_class = wire_error(error.kind).java_class;
  std::string_view simple = java_class;
  if (const auto cut = simple.find_last_of(".$"); cut != std::string_view::npos)
    simple.remove_prefix(cut + 1);
  JsonPtr exception(json_object());
  if (error.has_message) {
    const std::string_view message = error.message;
    set_text(exception.get(), "message", message.substr(0, message.find('\n')));
  } else {
    json_object_set_new(exception.get(), "message", json_null());
  }
  set_text(exception.get(), "exception", simple);
  set_text(exception.get(), "javaClassName", java_class);
  JsonPtr body(json_object());
  json_object_set_new(body.get(), "RemoteException", exception.release());
  return dump_json(body.get());
}

}  // namespace kms::hadoop
