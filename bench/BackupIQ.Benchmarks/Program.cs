using BackupIQ.Benchmarks;

if (args is not ["micro", .. string[] filters])
{
    Console.Error.WriteLine("usage: BackupIQ.Benchmarks micro [memory|hashing|chunking ...]\nSpeeds of single pieces on one thread, the best of several rounds.");
    return 2;
}

MicroBenchmarks.Run(Console.Out, filters);
return 0;
