using System.Text;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Jobs;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Snapshots;

/// <summary>The JSON of a snapshot as other writers may make it (docs/format.md, Snapshots).</summary>
public sealed class SnapshotDocumentTests
{
    private const string Least =
        """{"time":"2026-11-22T10:00:00+00:00","hostname":"h","paths":["/a"],"kind":"files","type":"full","tree":"TREE"}""";

    private static readonly string Tree = new('a', 64);

    [Fact]
    public void WhatMayBeLeftOutIsEmpty()
    {
        Snapshot snapshot = Read(Least);
        snapshot.Tags.ShouldBeEmpty();
        snapshot.Username.ShouldBe("");
        snapshot.ProgramVersion.ShouldBe("");
        SnapshotInfo.From(snapshot).Counts.ShouldBeNull();
        new SnapshotQuery { Tags = ["x"] }.Matches(SnapshotInfo.From(snapshot)).ShouldBeFalse();
    }

    [Fact]
    public void WhatThisVersionDoesNotKnowIsKept()
    {
        Snapshot snapshot = Read(Least.Replace("\"kind\"", "\"colour\":{\"deep\":[1,2]},\"kind\"", StringComparison.Ordinal));
        Encoding.UTF8.GetString(SnapshotStore.Write(snapshot)).ShouldContain("\"colour\":{\"deep\":[1,2]}");
    }

    [Fact]
    public void WhatADatabaseSaysIsKeptAsItIs()
    {
        Snapshot snapshot = Read(Least.Replace("\"kind\"", "\"db\":{\"timeline\":1,\"later\":[]},\"kind\"", StringComparison.Ordinal));
        snapshot.Db!.Value.GetProperty("timeline").GetInt32().ShouldBe(1);
        Encoding.UTF8.GetString(SnapshotStore.Write(snapshot)).ShouldContain("\"db\":{\"timeline\":1,\"later\":[]}");
    }

    [Theory]
    [InlineData("[\"/a\"]", "[null]")]
    [InlineData("[\"/a\"]", "null")]
    [InlineData("[\"/a\"]", "\"/a\"")]
    [InlineData("\"hostname\":\"h\"", "\"hostname\":null")]
    [InlineData("\"hostname\":\"h\"", "\"hostname\":\"h\",\"tags\":[null]")]
    [InlineData("\"hostname\":\"h\"", "\"hostname\":\"h\",\"raw_paths\":[null]")]
    [InlineData("\"hostname\":\"h\"", "\"hostname\":\"\\ud800\"")]
    [InlineData("\"hostname\":\"h\",", "")]
    [InlineData("\"files\"", "7")]
    [InlineData("\"full\"", "\"half\"")]
    [InlineData("TREE", "tree")]
    [InlineData("2026-11-22", "2026-13-22")]
    public void WhatCannotBeASnapshotIsDamage(string part, string replacement)
    {
        string changed = Least.Replace(part, replacement, StringComparison.Ordinal);
        changed.ShouldNotBe(Least);
        Should.Throw<CorruptDataException>(() => Read(changed));
    }

    private static Snapshot Read(string json) =>
        SnapshotStore.Read(Encoding.UTF8.GetBytes(json.Replace("TREE", Tree, StringComparison.Ordinal)), SessionId.New());
}
