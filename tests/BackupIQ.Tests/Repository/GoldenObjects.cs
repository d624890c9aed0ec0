using System.Text;

namespace BackupIQ.Tests.Repository;

/// <summary>
/// Objects of format 1 as an independent implementation (Python's hashlib and cryptography) wrote them: keyring of <see cref="FixedKeys"/>,
/// password "correct horse", scrypt N = 1024.
/// </summary>
internal static class GoldenObjects
{
    public const string SlotId = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf";

    public static byte[] Slot { get; } = Encoding.ASCII.GetBytes(
        """
        {"format":1,"repository":"101112131415161718191a1b1c1d1e1f","slot":"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf","type":"password","label":"first password","created":"2026-11-23T12:00:00+00:00","kdf":{"name":"scrypt","salt":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","n":1024,"r":8,"p":1}}
        0dv7OqBQoCnmAW37/HSjRgq79P05Yo8iQee+u2vGV4veWsjeBBa/G8PsXRiMMmQ1WWdzUoyVNbB3RZe638ajXmye+rD5GuB808rK2q1DVcf2SgFlAE4FT2XtmfSu0SlYu2BtzStv4/WVLoOdwR0GtoGpX+DrquWGEsSjcfRwzGJkhpmXdX0aKJcRNq7cQcm6tTF6T3HOxaR0enaJ4LQXSvAGZOAK0hJoaLR7u3KKHjOns+ebihwALQ==
        7434aa96fa1b03600c697fc7fe0f646a39db5f8808a1c1de77d51670cf4e7cd1

        """);

    /// <summary>A slot that follows new epochs: its secret is <see cref="FixedKeys.Salt"/>, as a key file.</summary>
    public const string FollowingSlotId = "b0b1b2b3b4b5b6b7b8b9babbbcbdbebf";

    public static byte[] FollowingSlot { get; } = Encoding.ASCII.GetBytes(
        """
        {"format":1,"repository":"101112131415161718191a1b1c1d1e1f","slot":"b0b1b2b3b4b5b6b7b8b9babbbcbdbebf","type":"keyfile","label":"follows","created":"2026-11-23T12:00:00+00:00","kdf":{"name":"scrypt","salt":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","n":1024,"r":8,"p":1},"epoch":2,"public":"04f057f7389b72eb1d74b1a1c7415f814a8f0e305dfb4744c5c8901ec8633f1ff2cbabad58f0e7f6138fb044b41d957129360ca37105306e4da620e9a81c01e9e9","proof":"ef7fa0c83a39289cf3b8b5352b0e94013eb014a392894709beefd4e4b3f2b355"}
        buD1s0bgGmH2Tu3mZX5NTQgCVmdWsGOJYS2gTYL3eU4R1UBLFerw0SzwASF8JYS3iz+37JAWFQjX9UuSBtMDDAPjqzzzgcvWV9R8wT6XrPLBuGcbs/G/5wR3u549KwaNIXm5QyNr4Q/2RkJgJfexkkABWx3NTXYA4IA5i2N6R/0jSLdSJPHDkNfCk3gUN7dVaz+KW0jPlFKyhJgYBctVaWgBvUBnXvVWeV70vwZdQge0MbLTERMExw==
        1152f5ac068c4fd82d77ee7a5c4461bef7682870bdab9399f7e37e37ab6c3d3d

        """);

    /// <summary>Epoch 3 with the master 32 × 55, wrapped for that slot; the object's own private key is 32 × 66.</summary>
    public static byte[] Epoch { get; } = Encoding.ASCII.GetBytes(
        """
        {"format":1,"repository":"101112131415161718191a1b1c1d1e1f","epoch":3,"created":"2026-11-24T12:00:00+00:00","public":"040bbbc5e8bc84bd33d1d3ce03ffac9a747f4c1993fddb2ec93a4116a86f022a77c3c17191559a4c2a1aa57e79b8d1977da2c959172f478e341e27028d69fffb7b"}
        sLGys7S1tre4ubq7vL2+v47S2Bp7G92P7oHRJCy83HNZqU9sfoHrSXd3d8+HyrvEj1tLtkXQ6sRr729hR1/ydfhm1+l/H9Xa5hxbGtRseV78aNwxLG9qsbJne50dsUm4sYP1iSq2zsrigD3XLiNy4w==
        a2cdd713192e1be6ed879ecf9f3fef0811cdcc3f9b70ce4a170365f676eb2e2f

        """);

    /// <summary>A keystore of that password: key photos with versions 1 (32 × 76) and 2 (32 × 77), key off (32 × 79), which is disabled.</summary>
    public static byte[] Keystore { get; } = Encoding.ASCII.GetBytes(
        """
        {"format":1,"keystore":"303132333435363738393a3b3c3d3e3f","salt":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","kdf":{"name":"scrypt","salt":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","n":1024,"r":8,"p":1}}
        +3XsHv4Hl173cwek+5M+hwlwYxb9xaq9uqw0BgC2oOUWozOdk0HOTOtseLkinFx04x2rMIe2Lmabt01j+YtWFZKf41vPnVdARCUunKC/CsoBvtYgC2dFEL9hpBLtDMp77Okjo2enGUUKeTVWO410qdO5zbL2HE1DzS3CnsR9VwRngWIags7vJ2wvvvtKm9t8AaZnCPPB6LPdEx6goZFjk1lc06fbvA712+PBtlbJhXcaxHtuTx6VuC+LlLHOxXvfLZooTiEQ4TFR6D3NwLHUzqRH8wr/iPidlVLzrmomUixyoKR/sG0uu/g5Gk48JA6KItbUGu6/ciWBTNeHNv/yVyMB2jvoDgK0i4EsVWHDGW0B6tgEJZtS1EnYohytiAZRXMhPDxgxmOAqUW9zqIVlblXDUqD+clkRA00xWtm7KE8guNS27E/BZxeLdYvi/cDpsOnTU6tDPrN+qxAyBfTNgMzBsR5AP6FslrcsABHg5pFzLOxHqnR1ZTwfPkiGjAXkG904sjvIzwJTZ22n6rKUu11jez2yraQSEULE7VYkbUg59ERAYQm31bjjif+nsfHMGgsyNnC++MmzbEbbR8rcTO3q+diwqhP0yg6QNSvOs49JozZDJCCJePViWgVt7FS+a596vfSaKjtcL0qI2E0yLwGOl19xz8SbrI0QkjpYqHB/Tih1p2qCUNybAm8=
        f891506d7a04f44d940e5373953057cb210a4e04d1fb09c1a46223b9f7494b4e

        """);

    /// <summary>32 × 88, wrapped by photos as the secret of the slot <see cref="FollowingSlotId"/>.</summary>
    public const string WrappedByKeystore = "0102000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f35e189736cdf2fa53d78e406efde42e0c199db9e99886d44c547f0f9e6833554be271a7c9099ced83054fae7c81ef178";

    public static byte[] Configuration { get; } = Encoding.ASCII.GetBytes(
        """
        {"format":1,"repository":"101112131415161718191a1b1c1d1e1f","generation":1,"min_reader":1,"min_writer":1,"features":{"read":[],"write":[],"delete":[],"check":[]},"kdf":{"name":"scrypt","salt":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","n":1024,"r":8,"p":1}}
        QklRTwEBAgAAAAAAAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9vqUGwP1t64Qswc/xuldyEZf1eGwLqkSZd30YW+1OhyRGLE4cUyRRx1MDFqolxfWCjbVqeD6QFbxpAQNyArwsEekZNwo3YgidGRWVm7DmkY7xfp4rC3swTo8RMABgeTxH9ok0LtTekgtJxU8xZXdHlPPqsEBVhB3E/S2IYiPZXLIhOZoaCuCPUL2U4huXbxH9n0vb6aqvMEQcjdrOEkJxMdqWEXbPzY+Zd+wpZ6nO78Gb8N37lUUUc7O4NeBncVyQ08s70kMVQt2c4j/I=
        1f575f97918b7da0d93965cc7f5922d73ddb21576e2e23f78ead0400177f5be2

        """);

    /// <summary>Version 5, level M, byte mode, mask 6, of <see cref="QrContent"/>, as another encoder drew it.</summary>
    public static string[] Qr { get; } =
    [
        "1111111010110100111100100100001111111",
        "1000001011111000010011101100101000001",
        "1011101010000010000011100111001011101",
        "1011101000100111010101001100101011101",
        "1011101010001110110101000010101011101",
        "1000001000000010011000010110101000001",
        "1111111010101010101010101010101111111",
        "0000000000011010000000100110100000000",
        "1001111110100000101100011011010010111",
        "0100110110001000010011110001000110000",
        "1111001100001010011010110101010001001",
        "1001100010110111011010001000000111101",
        "0110001101010100100000011001101101011",
        "1000110001000111110000110111100010000",
        "1010011110110101110110001011010000011",
        "0100000110101110011000100001110011110",
        "0110011110001011110010101101101001101",
        "0100100111000100101110100011000100010",
        "0001101011111011011101111001010010101",
        "1001010111001100000010011101011001000",
        "1100001100110011110010001011111011001",
        "0000100110111101000100010111010110000",
        "1110101001101011111010110011011110101",
        "1011110101101001110010001001111011110",
        "0110101011001101111110001001001100001",
        "1100010110111100110000010001110010100",
        "1110101001010100111101100101111101011",
        "1011110100011101001110001011101101110",
        "1001011101101000000100111101111111110",
        "0000000010111111001111000100100011110",
        "1111111011010111100101111110101010101",
        "1000001010000001011010011101100011011",
        "1011101010011011000100011011111110011",
        "1011101010110100101100110101111000001",
        "1011101001101111111000011011010110101",
        "1000001000000110110000101011011001111",
        "1111111011100011100000001000101111001",
    ];

    public const string QrContent = "backupiqkitabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl";
}
