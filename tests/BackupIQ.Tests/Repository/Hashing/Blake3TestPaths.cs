using BackupIQ.Repository.Hashing;
using Xunit;

namespace BackupIQ.Tests.Repository.Hashing;

/// <summary>The paths of BLAKE3 as test cases (numbers, since the type is internal), and the input of the official vectors.</summary>
public static class Blake3TestPaths
{
    public static TheoryData<int> Every => [.. Enum.GetValues<Blake3Path>().Select(path => (int)path)];

    /// <summary>The paths that this processor has.</summary>
    internal static IEnumerable<int> All() => Enum.GetValues<Blake3Path>().Where(Blake3Paths.IsSupported).Select(path => (int)path);

    internal static Blake3Path Require(int pathNumber)
    {
        Blake3Path path = (Blake3Path)pathNumber;
        if (!Blake3Paths.IsSupported(path))
        {
            Assert.Skip($"This processor does not have {path}; its instructions were not run. The emulation test follows its logic.");
        }

        return path;
    }

    /// <summary>The bytes 0, 1 … 250, 0, 1 …</summary>
    internal static byte[] VectorInput(int length)
    {
        byte[] input = new byte[length];
        for (int i = 0; i < length; i++)
        {
            input[i] = (byte)(i % 251);
        }

        return input;
    }
}
