using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace BackupIQ.Repository.Parity;

/// <summary>The ways in which <see cref="GaloisKernel"/> can compute. All give the same bytes; they differ in speed alone.</summary>
internal enum GaloisPath
{
    /// <summary>A table of products, byte by byte: the yardstick for the others.</summary>
    Scalar,

    /// <summary>16 bytes at once by two look-ups of half bytes: SSSE3 on x64, AdvSimd on ARM.</summary>
    Vector128,

    /// <summary>The same with 32 bytes.</summary>
    Avx2,

    /// <summary>The same with 64 bytes.</summary>
    Avx512,

    /// <summary>32 bytes by the processor's own multiplication in this field.</summary>
    Gfni256,

    /// <summary>The same with 64 bytes.</summary>
    Gfni512,
}

/// <summary>What this processor can do.</summary>
internal static class GaloisPaths
{
    /// <summary>The quickest path.</summary>
    public static GaloisPath Best { get; } = Enum.GetValues<GaloisPath>().Where(IsSupported).Max();

    /// <summary>Whether the processor has the instructions of <paramref name="path"/>.</summary>
    public static bool IsSupported(GaloisPath path) => path switch
    {
        GaloisPath.Gfni512 => Gfni.V512.IsSupported && Avx512F.IsSupported,
        GaloisPath.Gfni256 => Gfni.V256.IsSupported && Avx2.IsSupported,
        GaloisPath.Avx512 => Avx512BW.IsSupported,
        GaloisPath.Avx2 => Avx2.IsSupported,
        GaloisPath.Vector128 => Ssse3.IsSupported || AdvSimd.Arm64.IsSupported,
        _ => true,
    };
}
