using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Restic;
using BackupIQ.Testing.Files;

namespace BackupIQ.Tests.Sources.Restic;

/// <summary>
/// Writes restic repositories of version 1 with whatever one wants to stand in them, also what restic itself never writes. Everything is sealed
/// with a key that is known, behind a password whose derivation is quick.
/// </summary>
internal sealed class ResticForge : IDisposable
{
    private readonly ScratchFolder _scratch = new();
    private readonly Random _random = new(7);
    private readonly List<(ResticId Id, byte Kind, byte[] Sealed)> _pack = [];
    private readonly StringBuilder _index = new();

    public ResticForge()
    {
        _random.NextBytes(MasterKey);
        foreach (string folder in (string[])["data", "index", "keys", "snapshots"])
        {
            Directory.CreateDirectory(Path.Join(Folder, folder));
        }

        byte[] salt = new byte[64];
        _random.NextBytes(salt);
        byte[] user = new byte[64];
        ResticLibraries.Scrypt("password"u8, salt, 2, 1, 1, user);
        string master = $$$"""{"mac":{"k":"{{{Base64(MasterKey.AsSpan(32, 16))}}}","r":"{{{Base64(MasterKey.AsSpan(48))}}}"},"encrypt":"{{{Base64(MasterKey.AsSpan(0, 32))}}}"}""";
        KeyFile = Encoding.UTF8.GetBytes($$"""{"kdf":"scrypt","N":2,"r":1,"p":1,"salt":"{{Base64(salt)}}","data":"{{Base64(Seal(user, Encoding.UTF8.GetBytes(master)))}}"}""");
        Put("keys", KeyFile);
        Write("config", Seal("""{"version":1,"id":"5956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b","chunker_polynomial":"25b468838dcb75"}"""u8));
    }

    public string Folder => _scratch.Path;

    public byte[] MasterKey { get; } = new byte[64];

    public byte[] KeyFile { get; }

    public static string Base64(ReadOnlySpan<byte> bytes) => Convert.ToBase64String(bytes);

    public ResticRepository Open(bool withIndex = true)
    {
        using Secret password = new("password"u8);
        ResticRepository repository = ResticRepository.Open(Folder, password);
        if (withIndex)
        {
            repository.LoadIndex(default);
        }

        return repository;
    }

    /// <summary>Seals as restic does: nonce, ciphertext, tag.</summary>
    public byte[] Seal(ReadOnlySpan<byte> plain) => Seal(MasterKey, plain);

    /// <summary>Adds a blob to the pack that is being written.</summary>
    public string Blob(ReadOnlySpan<byte> plain, bool isTree = false)
    {
        ResticId id = ResticId.Read(SHA256.HashData(plain));
        _pack.Add((id, isTree ? (byte)1 : (byte)0, Seal(plain)));
        return id.ToString();
    }

    /// <summary>Adds a tree: each entry a JSON object.</summary>
    public string Tree(params string[] nodes) => Blob(Encoding.UTF8.GetBytes($$"""{"nodes":[{{string.Join(",", nodes)}}]}"""), isTree: true);

    /// <summary>An entry of a tree; <paramref name="name"/> as it stands in the document.</summary>
    public static string Node(string name, string type, string more = "") =>
        $$"""{"name":"{{name}}","type":"{{type}}","mode":420,"mtime":"2022-03-04T05:06:07.123456789+01:00","atime":"2022-03-04T05:06:07Z","ctime":"2022-03-04T05:06:08Z","uid":1,"gid":2,"inode":77{{(more.Length > 0 ? "," + more : "")}}}""";

    public static string File(string name, params string[] blobs) =>
        Node(name, "file", $$"""
            "size":1,"content":[{{string.Join(",", blobs.Select(static blob => $"\"{blob}\""))}}]
            """.Trim());

    /// <summary>Ends the pack; returns its path. Without <paramref name="indexed"/> no index will name it.</summary>
    public string EndPack(bool indexed = true)
    {
        using MemoryStream bytes = new();
        using MemoryStream header = new();
        List<string> blobs = [];
        foreach ((ResticId id, byte kind, byte[] stored) in _pack)
        {
            byte[] entry = new byte[37];
            entry[0] = kind;
            BinaryPrimitives.WriteUInt32LittleEndian(entry.AsSpan(1), (uint)stored.Length);
            id.Write(entry.AsSpan(5));
            header.Write(entry);
            blobs.Add($$"""{"id":"{{id}}","type":"{{(kind == 1 ? "tree" : "data")}}","offset":{{bytes.Length}},"length":{{stored.Length}}}""");
            bytes.Write(stored);
        }

        byte[] end = Seal(header.ToArray());
        bytes.Write(end);
        byte[] length = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(length, (uint)end.Length);
        bytes.Write(length);
        _pack.Clear();
        string name = Convert.ToHexStringLower(SHA256.HashData(bytes.ToArray()));
        if (indexed)
        {
            _index.Append(_index.Length > 0 ? "," : "").Append($$"""{"id":"{{name}}","blobs":[{{string.Join(",", blobs)}}]}""");
        }

        Directory.CreateDirectory(Path.Join(Folder, "data", name[..2]));
        return Write($"data/{name[..2]}/{name}", bytes.ToArray());
    }

    /// <summary>Writes the index of all packs so far; returns its path.</summary>
    public string Index() => Put("index", Seal(Encoding.UTF8.GetBytes($$"""{"packs":[{{_index}}]}""")));

    public ResticSnapshot Snapshot(string tree, string more = "")
    {
        Put("snapshots", Seal(Encoding.UTF8.GetBytes(
            $$"""{"time":"2022-03-04T05:06:07.123456789+01:00","tree":"{{tree}}","paths":["/home"],"hostname":"h","username":"u","tags":["t"]{{more}}}""")));
        using ResticRepository repository = Open(withIndex: false);
        return repository.ListSnapshots(default).Single(snapshot => snapshot.Tree.ToString() == tree);
    }

    public void Dispose() => _scratch.Dispose();

    public string Put(string folder, byte[] bytes) => Write($"{folder}/{Convert.ToHexStringLower(SHA256.HashData(bytes))}", bytes);

    private static byte[] Seal(byte[] key, ReadOnlySpan<byte> plain)
    {
        byte[] bytes = new byte[plain.Length + ResticKey.Overhead];
        SHA256.HashData(plain).AsSpan(0, 16).CopyTo(bytes);
        ResticLibraries.AesCounter(key.AsSpan(0, 32), bytes.AsSpan(0, 16), plain, bytes.AsSpan(16, plain.Length));
        byte[] once = new byte[32];
        key.AsSpan(48, 16).CopyTo(once);
        ResticLibraries.AesCounter(key.AsSpan(32, 16), bytes.AsSpan(0, 16), new byte[16], once.AsSpan(16));
        using ResticLibraries.PolyHandle poly = new();
        ResticLibraries.Poly1305(poly, once, bytes.AsSpan(16, plain.Length), bytes.AsSpan(16 + plain.Length));
        return bytes;
    }

    private string Write(string name, byte[] bytes)
    {
        string path = Path.Join(Folder, name);
        System.IO.File.WriteAllBytes(path, bytes);
        return path;
    }
}
