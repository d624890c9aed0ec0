using System.Text;

namespace BackupIQ.Tests.Repository.Compression;

/// <summary>Bytes of known compressibility, the same in every run.</summary>
internal static class Samples
{
    internal static byte[] RandomBytes(int length, int seed = 1)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    internal static byte[] Text(int length, int seed = 1)
    {
        string[] words = ["backup", "restore", "pack", "frame", "index", "the", "of", "a", "snapshot", "keeps", "12345", "\n"];
        Random random = new(seed);
        StringBuilder text = new();
        while (text.Length < length)
        {
            text.Append(words[random.Next(words.Length)]).Append(random.Next(1000)).Append(' ');
        }

        return Encoding.ASCII.GetBytes(text.ToString(0, length));
    }
}
