using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>What a mark says beside its name, for people: who put it and why. Nothing depends on it.</summary>
internal sealed record MarkDocument(string Session, string Reason)
{
    public static byte[] Write(SessionId session, string reason) =>
        JsonSerializer.SerializeToUtf8Bytes(new MarkDocument(session.ToString(), reason), MarkJson.Default.MarkDocument);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(MarkDocument))]
internal sealed partial class MarkJson : JsonSerializerContext;
