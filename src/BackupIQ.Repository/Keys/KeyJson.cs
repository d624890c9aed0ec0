using System.Text.Json.Serialization;
using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Keys;

/// <summary>The JSON of slots, configuration and kits, compiled: reflection would cost a start-up that <c>snapshots</c> does not have.</summary>
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
internal sealed partial class KeyJson : JsonSerializerContext;
