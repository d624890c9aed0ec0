using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace BackupIQ.Repository.Hashing;

/// <summary>The ways in which BLAKE3 can be computed. All give the same digests; they differ in speed alone.</summary>
internal enum Blake3Path
{
    /// <summary>Plain integers: the yardstick for the others.</summary>
    Scalar,

    /// <summary>128-bit vectors: SSE on x64, AdvSimd on ARM; four chunks side by side.</summary>
    Vector128,

    /// <summary>AVX2: eight chunks side by side.</summary>
    Avx2,

    /// <summary>AVX-512: sixteen chunks side by side. Where the processor lacks it the lanes are emulated, for tests.</summary>
    Avx512,
}

/// <summary>What this processor can do.</summary>
internal static class Blake3Paths
{
    /// <summary>
    /// The quickest path. <c>Avx512F.IsSupported</c> is asked, since <c>Vector512.IsHardwareAccelerated</c> is false on processors
    /// where the runtime merely prefers narrower vectors for its own code.
    /// </summary>
    public static Blake3Path Best =>
        Avx512F.IsSupported ? Blake3Path.Avx512
        : Avx2.IsSupported ? Blake3Path.Avx2
        : Vector128.IsHardwareAccelerated ? Blake3Path.Vector128
        : Blake3Path.Scalar;

    /// <summary>Whether the processor has the instructions of <paramref name="path"/>.</summary>
    public static bool IsSupported(Blake3Path path) => path switch
    {
        Blake3Path.Avx512 => Avx512F.IsSupported,
        Blake3Path.Avx2 => Avx2.IsSupported,
        Blake3Path.Vector128 => Vector128.IsHardwareAccelerated,
        _ => true,
    };
}
