using System.Text.Json.Serialization;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Repository.Keys;

/// <summary>The JSON of slots, configuration, kits and keystores, compiled: reflection would cost a start-up that <c>snapshots</c> does not have.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    AllowDuplicateProperties = false,
    RespectNullableAnnotations = true,
    MaxDepth = 16)]
[JsonSerializable(typeof(KeySlotHead))]
[JsonSerializable(typeof(ConfigurationHead))]
[JsonSerializable(typeof(ConfigurationSettings))]
[JsonSerializable(typeof(RecoveryKitBlock))]
[JsonSerializable(typeof(EpochHead))]
[JsonSerializable(typeof(KeystoreHead))]
[JsonSerializable(typeof(KeystoreContent))]
[JsonSerializable(typeof(KeystoreAuditLine))]
internal sealed partial class KeyJson : JsonSerializerContext;
