using System.Text;
using System.Text.Json;
using BackupIQ.Repository.Hashing;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Hashing;

/// <summary>The official vectors (test_vectors.json of the BLAKE3 team), a few of them inline so that something always runs.</summary>
public sealed class Blake3VectorTests
{
    private const string Key = "whats the Elvish word for friend";
    private const string Context = "BLAKE3 2019-12-27 16:29:52 test vectors context";

    [Theory]
    [InlineData("", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")]
    [InlineData("abc", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85")]
    [InlineData("hello world", "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24")]
    public void WellKnownTextsHaveTheirDigests(string text, string expected)
    {
        foreach (int path in Blake3TestPaths.All())
        {
            byte[] digest = new byte[32];
            Blake3.Hash((Blake3Path)path, Encoding.ASCII.GetBytes(text), digest);
            Convert.ToHexStringLower(digest).ShouldBe(expected, $"path {(Blake3Path)path}");
        }
    }

    [Theory]
    [InlineData(0, "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26", "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d")]
    public void TheEmptyInputHasItsKeyedAndDerivedValues(int length, string keyed, string derived)
    {
        byte[] input = Blake3TestPaths.VectorInput(length);
        byte[] digest = new byte[32];
        Blake3.HashKeyed(Encoding.ASCII.GetBytes(Key), input, digest);
        Convert.ToHexStringLower(digest).ShouldBe(keyed);
        Blake3.DeriveKey(Encoding.ASCII.GetBytes(Context), input, digest);
        Convert.ToHexStringLower(digest).ShouldBe(derived);
    }

    [Theory]
    [MemberData(nameof(Blake3TestPaths.Every), MemberType = typeof(Blake3TestPaths))]
    public void EveryOfficialVectorHoldsInAllModes(int pathNumber)
    {
        Blake3Path path = Blake3TestPaths.Require(pathNumber);
        using JsonDocument vectors = JsonDocument.Parse(File.ReadAllBytes(FindVectors()));
        byte[] key = Encoding.ASCII.GetBytes(vectors.RootElement.GetProperty("key").GetString()!);
        byte[] context = Encoding.ASCII.GetBytes(vectors.RootElement.GetProperty("context_string").GetString()!);
        int cases = 0;
        foreach (JsonElement vector in vectors.RootElement.GetProperty("cases").EnumerateArray())
        {
            byte[] input = Blake3TestPaths.VectorInput(vector.GetProperty("input_len").GetInt32());
            byte[] hash = Convert.FromHexString(vector.GetProperty("hash").GetString()!);
            byte[] keyed = Convert.FromHexString(vector.GetProperty("keyed_hash").GetString()!);
            byte[] derived = Convert.FromHexString(vector.GetProperty("derive_key").GetString()!);
            foreach (int length in (int[])[32, hash.Length])
            {
                byte[] digest = new byte[length];
                Blake3.Hash(path, input, digest);
                digest.ShouldBe(hash[..length]);
                Blake3.HashKeyed(path, key, input, digest);
                digest.ShouldBe(keyed[..length]);
                Blake3.DeriveKey(path, context, input, digest);
                digest.ShouldBe(derived[..length]);

                ShouldGive(Blake3Hasher.Create(path), input, hash[..length]);
                ShouldGive(Blake3Hasher.CreateKeyed(path, key), input, keyed[..length]);
                ShouldGive(Blake3Hasher.CreateDeriveKey(path, context), input, derived[..length]);
            }

            cases++;
        }

        cases.ShouldBeGreaterThan(30);
    }

    private static void ShouldGive(Blake3Hasher hasher, byte[] input, byte[] expected)
    {
        byte[] digest = new byte[expected.Length];
        hasher.Update(input);
        hasher.Finish(digest);
        digest.ShouldBe(expected);
    }

    private static string FindVectors()
    {
        const string Name = "blake3/test_vectors.json";
        List<string> places = [];
        if (Environment.GetEnvironmentVariable("BACKUPIQ_SHARED") is { Length: > 0 } shared)
        {
            places.Add(Path.Combine(shared, "testdata", Name));
        }

        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "BackupIQ.slnx")))
        {
            folder = folder.Parent;
        }

        for (folder = folder?.Parent; folder is not null; folder = folder.Parent)
        {
            places.Add(Path.Combine(folder.FullName, "shared", "testdata", Name));
        }

        string? found = places.Find(File.Exists);
        if (found is null)
        {
            Assert.Skip("The official BLAKE3 vectors are not here; set BACKUPIQ_SHARED to the folder that holds testdata/blake3/test_vectors.json.");
        }

        return found;
    }
}
