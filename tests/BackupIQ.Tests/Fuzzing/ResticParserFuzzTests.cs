using System.Security.Cryptography;
using System.Text;
using BackupIQ.Sources.Restic;
using BackupIQ.Tests.Sources.Restic;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>Whatever stands in a restic repository, those who read it refuse it or read it, also where its key has sealed it.</summary>
[Trait("kind", "fuzz")]
public sealed class ResticParserFuzzTests
{
    private static readonly ResticId SomePack = ResticId.Read(SHA256.HashData([1]));
    private static readonly string Hex = SomePack.ToString();

    [Fact]
    public void Trees() => Fuzz.Run(
        [
            Tree(),
            Tree(ResticForge.Node("a\\\\xff\\\\u00e4", "file", $"\"size\":3,\"links\":2,\"content\":[\"{Hex}\",\"{Hex}\"]"), ResticForge.Node("b", "dir", $"\"subtree\":\"{Hex}\"")),
            Tree(ResticForge.Node("z", "symlink", "\"linktarget\":\"\\u00e4\",\"linktarget_raw\":\"dP4=\""), ResticForge.Node("d", "chardev", "\"device\":1281"), ResticForge.Node("z", "fifo")),
            Tree(ResticForge.Node("x", "file", "\"user\":\"u\",\"group\":\"g\",\"extended_attributes\":[{\"name\":\"user.a\",\"value\":\"AQI=\"}],\"generic_attributes\":{\"a\":[{}]}")),
            "{\"other\":[{}],\"nodes\":null}"u8.ToArray(),
        ],
        static bytes =>
        {
            for (int position = 0; position < 3; position++)
            {
                ResticTree tree = ResticTree.Open(bytes, position);
                byte[]? last = null;
                while (tree.Next(out ResticNode? node, out ResticRefusal? refused))
                {
                    if (node is null)
                    {
                        refused.ShouldNotBeNull();
                        continue;
                    }

                    node.Name.ShouldNotContain((byte)'/');
                    node.Name.Length.ShouldBeGreaterThan(0);
                    (last is null || last.AsSpan().SequenceCompareTo(node.Name) < 0).ShouldBeTrue();
                    last = node.Name;
                    node.ToMetadata().Modified.Nanoseconds.ShouldBeLessThan(1_000_000_000u);
                    _ = node.ToStat();
                }
            }
        },
        perByte: 2048);

    [Fact]
    public void Indexes() => Fuzz.Run(
        [
            Encoding.UTF8.GetBytes($$"""{"supersedes":["{{Hex}}"],"packs":[{"id":"{{Hex}}","blobs":[{"id":"{{Hex}}","type":"data","offset":0,"length":38},{"id":"{{Hex}}","type":"tree","offset":38,"length":112,"uncompressed_length":511}]}]}"""),
            "{\"packs\":[]}"u8.ToArray(),
        ],
        static bytes =>
        {
            ResticIndex index = new();
            index.AddFile(bytes);
            for (int copy = 0; index.TryFind(SomePack, isTree: false, copy, out ResticBlob blob); copy++)
            {
                copy.ShouldBeLessThan(4);
                blob.Length.ShouldBeGreaterThanOrEqualTo((uint)ResticKey.Overhead);
                blob.Pack.ShouldBeInRange(0, index.Packs.Count - 1);
            }
        },
        perByte: 2048,
        allocates: 2 << 20);

    [Fact]
    public void PackHeaders()
    {
        byte[] id = SHA256.HashData([2]);
        byte[] header = [0, 38, 0, 0, 0, .. id, 1, 50, 0, 0, 0, .. id, 2, 60, 0, 0, 0, 200, 0, 0, 0, .. id, 3, 60, 0, 0, 0, 200, 0, 0, 0, .. id];
        Fuzz.Run(
            [header],
            static bytes =>
            {
                ResticIndex index = new();
                index.AddHeader(SomePack, bytes, 1 << 20);
                index.Count.ShouldBeLessThanOrEqualTo(bytes.Length / 37);
            },
            perByte: 2048,
            allocates: 2 << 20);
    }

    [Fact]
    public void Snapshots() => Fuzz.Run(
        [Encoding.UTF8.GetBytes($$"""{"time":"2022-03-04T05:06:07.123456789+01:00","parent":"{{Hex}}","tree":"{{Hex}}","paths":["/home","C:\\x"],"hostname":"h","username":"u","uid":1,"tags":["a","b"],"summary":{"backup_end":"2022-03-04T06:06:07Z"},"program_version":"restic 0.18.0"}""")],
        static bytes =>
        {
            ResticSnapshot snapshot = ResticSnapshot.Parse(SomePack, bytes);
            snapshot.Paths.ShouldAllBe(static path => path != null);
            snapshot.Tags.ShouldAllBe(static tag => tag != null);
            _ = snapshot.Time.UtcDateTime;
            _ = snapshot.Ended.UtcDateTime;
        });

    [Fact]
    public void KeyFiles()
    {
        using ResticForge forge = new();
        Fuzz.Run(
            [forge.KeyFile],
            static bytes =>
            {
                // What a mutation may ask for is minutes of work and a gigabyte: only what asks for little is tried.
                if (Encoding.Latin1.GetString(bytes).Contains("\"N\":2,\"r\":1,\"p\":1,", StringComparison.Ordinal))
                {
                    ResticKey.Unlock(bytes, "password"u8)?.Dispose();
                }
            });
    }

    [Fact]
    public void SealedFiles()
    {
        using ResticForge forge = new();
        using ResticKey key = new([.. forge.MasterKey]);
        byte[] compressed = [2, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x02, 0x11, 0, 0, (byte)'{', (byte)'}'];
        ResticRepository.OpenSealed(key, forge.Seal(compressed), 1 << 20).ShouldBe("{}"u8.ToArray());

        // First the seal itself, then what is behind it.
        Fuzz.Run([forge.Seal("{}"u8), forge.Seal(compressed)], bytes => _ = ResticRepository.OpenSealed(key, bytes, 1 << 20), allocates: 4 << 20);
        Fuzz.Run([compressed, "{}"u8.ToArray(), "[]"u8.ToArray()], bytes => ResticRepository.OpenSealed(key, forge.Seal(bytes), 1 << 20)!.Length.ShouldBeLessThanOrEqualTo(1 << 20), allocates: 8 << 20);
    }

    private static byte[] Tree(params string[] nodes) => Encoding.UTF8.GetBytes($$"""{"nodes":[{{string.Join(",", nodes)}}]}""");
}
