// SPDX-License-Identifier: Apache-2.0
// The table of all commands.
#include "acl_commands.h"
#include "audit_command.h"
#include "bench_command.h"
#include "command.h"
#include "config_command.h"
#include "help.h"
#include "hsm_commands.h"
#include "key_commands.h"
#include "keystore_commands.h"
#include "seal_commands.h"
#include "store_commands.h"
#include "token_command.h"

namespace kmsctl {
namespace {

constexpr OptionSpec kGlobal[] = {
    {"json", nullptr, "print the answer as one JSON object"},
    {"quiet", nullptr, "no progress bars and remarks; also -q"},
    {"help", nullptr, "how the command is used; also -h"},
    {"version", nullptr, "the version of kmsctl"},
};

constexpr OptionSpec kConf[] = {
    {"conf", "DIR", "the Hadoop configuration; default $HADOOP_CONF_DIR or /etc/hadoop-kms/conf",
     "@dir"},
    {"set", "NAME=VALUE", "a property that wins over the files, as KMSProperty; may be repeated",
     "", true},
    {"run-as", "USER", "as whom httpd serves, for ${user.home}; default the user who asks",
     "@user"},
};

constexpr OptionSpec kRest[] = {
    {"url", "URL", "the KMS; default $KMSCTL_URL or http://127.0.0.1:9600/kms"},
    {"user", "USER", "who asks, by simple authentication; default $HADOOP_USER_NAME or who runs it",
     "@user"},
    {"negotiate", nullptr, "who asks is said by Kerberos (SPNEGO)"},
    {"token-file", "FILE", "who asks is said by the delegation token in the file; -: stdin",
     "@file"},
    {"do-as", "USER", "in whose name", "@user"},
    {"tls-ca", "FILE", "certificates that the server's is checked with, PEM", "@file"},
    {"tls-cert", "FILE", "certificate of the client, PEM", "@file"},
    {"tls-key", "FILE", "key of the client's certificate, PEM", "@file"},
    {"timeout", "SECONDS", "the longest wait for an answer; default 60"},
};

constexpr OptionSpec kExplain[] = {
    {"user", "USER", "who calls, by full or short name", "@user"},
    {"op", "OP", "the operation, as in audit lines: DECRYPT_EEK", "@op"},
    {"key", "KEY", "the key, or its key.acl.name where it has another"},
    {"material", nullptr, "the call brings key material (CREATE_KEY, ROLL_NEW_VERSION)"},
    {"real-user", "USER", "who calls in the name of --user (doAs)", "@user"},
    {"groups", "G1,G2", "the groups of the user; default: those that the system knows"},
    {"acls", "FILE", "the ACLs; default kms-acls.xml of the configuration", "@file"},
};

constexpr OptionSpec kCheck[] = {
    {"strict", nullptr, "exit status 1 for warnings as well"},
};

constexpr OptionSpec kReplay[] = {
    {"groups-file", "FILE", "groups by lines USER=G1,G2 instead of those the system knows",
     "@file"},
    {"metadata", "FILE", "of key export-metadata, for keys with another key.acl.name", "@file"},
};

constexpr OptionSpec kAuditVerify[] = {
    {"key-file", "FILE", "key of the chain, as KMSAuditChainKeyFile", "@file"},
    {"expect", "ID:NUMBER:HASH",
     "a place that must be there, from the error log or an earlier report; may be repeated", "",
     true},
    {"continues", nullptr, "the files go on from earlier ones that are not given"},
};

constexpr OptionSpec kConfigCheck[] = {
    {"all", nullptr, "show the properties as well that have their built-in value"},
    {"password-file", "FILE", "of the keystore, as KMSKeystorePasswordFile", "@file"},
};

constexpr OptionSpec kList[] = {
    {"long", nullptr, "with cipher, length, versions, date and description"},
    {"deleted", nullptr, "the deleted keys that can be had back, with the date of their deletion"},
};

constexpr OptionSpec kCreate[] = {
    {"cipher", "CIPHER", "default: what the server is configured for, AES/CTR/NoPadding",
     "AES/CTR/NoPadding"},
    {"length", "BITS", "length of the key; default: what the server is configured for",
     "128 192 256"},
    {"description", "TEXT", "what the key is for"},
    {"attribute", "NAME=VALUE", "an attribute; may be repeated", "key.acl.name=", true},
    {"material-file", "FILE", "take the key from the file, base64, instead of a generated one",
     "@file"},
};

constexpr OptionSpec kRoll[] = {
    {"material-file", "FILE", "take the key from the file, base64, instead of a generated one",
     "@file"},
};

constexpr OptionSpec kDelete[] = {
    {"yes", nullptr, "do not ask"},
};

constexpr OptionSpec kExport[] = {
    {"output", "FILE", "where to; default -, stdout", "@file"},
};

constexpr OptionSpec kImport[] = {
    {"dry-run", nullptr, "say what would be created, create nothing"},
    {"allow-material", nullptr, "take key material from the file where it has some"},
};

constexpr OptionSpec kVerify[] = {
    {"password-file", "FILE",
     "password of the keystore; default $HADOOP_KEYSTORE_PASSWORD, then that of the configuration",
     "@file"},
};

constexpr OptionSpec kRepair[] = {
    {"apply", nullptr, "write it, after a backup; default: only say what would be done"},
    {"drop-broken", nullptr, "take entries away that cannot be opened"},
    {"salvage-to", "FILE", "write what can be read of a damaged file into a new one", "@file"},
    {"password-file", "FILE",
     "password of the keystore; default $HADOOP_KEYSTORE_PASSWORD, then that of the configuration",
     "@file"},
};

constexpr OptionSpec kAdopt[] = {
    {"from", "KEYSTORE", "a URI or a file; default hadoop.kms.hsm.previous.uri", "@file"},
    {"from-password-file", "FILE", "password of --from; default as for keystore verify", "@file"},
    {"dry-run", nullptr, "say what would be adopted, change nothing"},
};

constexpr OptionSpec kForget[] = {
    {"unused-days", "N",
     "refuse what was used, or adopted and not used, within so many days; default 7"},
    {"yes", nullptr, "do not ask"},
};

constexpr OptionSpec kReconcile[] = {
    {"destroy", "ID", "destroy the object of an orphan; may be repeated", "", true},
};

constexpr OptionSpec kMigrate[] = {
    {"from", "KEYSTORE",
     "the keystore to copy from: a URI, a file, or the URL of a KMS that serves", "@file"},
    {"to", "KEYSTORE", "the keystore to copy to: a URI or a file", "@file"},
    {"from-password-file", "FILE", "password of --from; default as for keystore verify", "@file"},
    {"to-password-file", "FILE", "password of --to; default that of --from", "@file"},
    {"dry-run", nullptr, "say what would be copied, copy nothing"},
    {"follow", nullptr, "go on copying what changes in the source, until interrupted"},
    {"report", "FILE", "write what was done to the file; go on with that of an earlier run",
     "@file"},
    {"roll-back", "REPORT", "take out of the target what the run of the report has made", "@file"},
};

constexpr OptionSpec kBackup[] = {
    {"to", "CERTIFICATE", "PEM; whoever has its private key can open the backup; may be repeated",
     "@file", true},
};

constexpr OptionSpec kRestore[] = {
    {"key", "FILE", "the private key of one of the recipients, PEM", "@file"},
    {"key-password-file", "FILE", "its password, where the key is encrypted", "@file"},
    {"merge", nullptr, "into a store that has other keys, which are left alone"},
};

constexpr OptionSpec kTrust[] = {
    {"remove", "ID", "trust this sealing key no longer"},
};

constexpr OptionSpec kBench[] = {
    {"key", "KEY", "the key to work with"},
    {"operation", "NAME", "decrypt (default) or generate", "decrypt generate"},
    {"threads", "N", "calls at a time, each on a connection of its own; default 4"},
    {"seconds", "N", "how long; default 10"},
};

constexpr CommandSpec kCommands[] = {
    {"acl", "explain", "", 0, 0, "", "says whether a call is allowed, and by which rule", kExplain,
     true, false, run_acl_explain},
    {"acl", "check", "[FILE]", 0, 1, "@file",
     "looks for mistakes in kms-acls.xml and for rules without effect", kCheck, true, false,
     run_acl_check},
    {"acl", "replay", "NEW-ACLS AUDITLOG", 2, 2, "@file",
     "says which calls of an audit log other rules would decide otherwise", kReplay, true, false,
     run_acl_replay},
    {"audit", "verify", "FILE...", 1, -1, "@file",
     "says whether a chained audit log, its oldest file first, is as it was written", kAuditVerify,
     false, false, run_audit_verify},
    {"config", "check", "", 0, 0, "",
     "checks the configuration as apachectl configtest, and shows what is in force", kConfigCheck,
     true, false, run_config_check},
    {"hsm", "adopt", "[KEY...]", 0, -1, "",
     "moves keys to the HSM: new versions there, the old ones stay where they are", kAdopt, true,
     false, run_hsm_adopt},
    {"hsm",
     "doctor",
     "",
     0,
     0,
     "",
     "logs in to the HSM, makes a trial key, and reports what there is",
     {},
     true,
     false,
     run_hsm_doctor},
    {"hsm", "forget", "NAME@N...", 1, -1, "",
     "ends versions in the previous keystore that nothing needs any more", kForget, true, false,
     run_hsm_forget},
    {"hsm", "reconcile", "", 0, 0, "",
     "compares the keys of the HSM with the metadata, version by version", kReconcile, true, false,
     run_hsm_reconcile},
    {"hsm",
     "status",
     "",
     0,
     0,
     "",
     "the HSM, its limits, which key versions are not in order, which are outside",
     {},
     true,
     false,
     run_hsm_status},
    {"key", "list", "", 0, 0, "", "the names of all keys", kList, false, true, run_key_list},
    {"key",
     "show",
     "NAME",
     1,
     1,
     "",
     "metadata of a key; its material is not asked for",
     {},
     false,
     true,
     run_key_show},
    {"key", "create", "NAME", 1, 1, "", "makes a key", kCreate, false, true, run_key_create},
    {"key", "roll", "NAME", 1, 1, "", "makes a new version of a key", kRoll, false, true,
     run_key_roll},
    {"key", "delete", "NAME", 1, 1, "", "deletes a key with all its versions", kDelete, false, true,
     run_key_delete},
    {"key",
     "undelete",
     "NAME",
     1,
     1,
     "",
     "takes a deletion back, where the store keeps deleted keys",
     {},
     false,
     true,
     run_key_undelete},
    {"key", "purge", "NAME", 1, 1, "", "ends a deleted key for good", kDelete, false, true,
     run_key_purge},
    {"key",
     "state",
     "NAME [STATE]",
     1,
     2,
     "pre-active active suspended deactivated compromised",
     "says in what state a key is, or gives it another one",
     {},
     false,
     true,
     run_key_state},
    {"key", "export-metadata", "[NAME...]", 0, -1, "",
     "writes the metadata of keys, all by default, to a file, without material", kExport, false,
     true, run_key_export},
    {"key", "import", "FILE", 1, 1, "@file",
     "makes the keys of a file of export-metadata that do not exist, with new material", kImport,
     false, true, run_key_import},
    {"keystore", "verify", "[KEYSTORE]", 0, 1, "@file",
     "opens every entry of a keystore file and says what is wrong with it", kVerify, true, false,
     run_keystore_verify},
    {"keystore", "repair", "[KEYSTORE]", 0, 1, "@file",
     "mends what can be mended in a keystore file; a dry run unless --apply", kRepair, true, false,
     run_keystore_repair},
    {"migrate", "", "", 0, 0, "", "copies the keys of one keystore into another and compares them",
     kMigrate, true, true, run_migrate},
    {"seal",
     "rewrap",
     "[STORE]",
     0,
     1,
     "",
     "seals by the configured sealing key from now on, and wraps all rows by it",
     {},
     true,
     false,
     run_seal_rewrap},
    {"seal",
     "settings",
     "[STORE]",
     0,
     1,
     "",
     "the sealing keys that are configured, and those that the store trusts",
     {},
     true,
     false,
     run_seal_settings},
    {"seal",
     "setup",
     "[STORE]",
     0,
     1,
     "",
     "makes the configured sealing key, in the HSM or in its file",
     {},
     true,
     false,
     run_seal_setup},
    {"seal", "trust", "[STORE]", 0, 1, "", "makes the store trust the configured sealing key",
     kTrust, true, false, run_seal_trust},
    {"seal",
     "validate",
     "[STORE]",
     0,
     1,
     "",
     "wraps and unwraps with each sealing key, and opens every row",
     {},
     true,
     false,
     run_seal_validate},
    {"store", "backup", "FILE [STORE]", 1, 2, "@file",
     "writes all keys of a store in a database to a file, encrypted to recipients", kBackup, true,
     false, run_store_backup},
    {"store",
     "init",
     "[STORE]",
     0,
     1,
     "",
     "makes a key store in a database, sealed with the configured sealing key",
     {},
     true,
     false,
     run_store_init},
    {"store", "restore", "FILE [STORE]", 1, 2, "@file",
     "puts the keys of a backup into a store in a database", kRestore, true, false,
     run_store_restore},
    {"store",
     "status",
     "[STORE]",
     0,
     1,
     "",
     "says in what state a key store in a database is",
     {},
     true,
     false,
     run_store_status},
    {"store",
     "upgrade",
     "[STORE]",
     0,
     1,
     "",
     "brings a key store in a database to the version of this program",
     {},
     true,
     false,
     run_store_upgrade},
    {"token",
     "show",
     "[TOKEN]",
     0,
     1,
     "@file",
     "says what a delegation token says of itself, but its password",
     {},
     false,
     false,
     run_token_show},
    {"bench", "", "", 0, 0, "", "calls a server in a loop, and says how fast it answers", kBench,
     false, true, run_bench},
    {"help", "", "[COMMAND...]", 0, 2, "", "how a command is used", {}, false, false, run_help},
    {"complete",
     "",
     "INDEX WORD...",
     1,
     -1,
     "",
     "possible words at a place, for the shell",
     {},
     false,
     false,
     run_complete},
};

}  // namespace

std::span<const CommandSpec> commands() {
  return kCommands;
}

std::span<const OptionSpec> global_options() {
  return kGlobal;
}

std::span<const OptionSpec> conf_options() {
  return kConf;
}

std::span<const OptionSpec> rest_options() {
  return kRest;
}

std::vector<OptionSpec> CommandSpec::all_options() const {
  std::vector<OptionSpec> all(options.begin(), options.end());
  if (conf) all.insert(all.end(), std::begin(kConf), std::end(kConf));
  if (rest) all.insert(all.end(), std::begin(kRest), std::end(kRest));
  all.insert(all.end(), std::begin(kGlobal), std::end(kGlobal));
  return all;
}

}  // namespace kmsctl
