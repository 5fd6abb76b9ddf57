using System.Diagnostics;
using System.Globalization;
using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Irpwright.Guest.Tests.Images.ImageBuilder;

namespace Irpwright.Guest.Tests.Images;

/// <summary>
/// Many damaged images: each is read or refused, never more. Some of those that can be read are placed and started, and end in a
/// status or a stopped machine.
/// </summary>
/// <remarks>IRPWRIGHT_FUZZ_IMAGES says how many (100,000), IRPWRIGHT_FUZZ_SEED which (0); a failure names the seed of its image.</remarks>
public class ImageFuzzTests
{
    /// <summary>Of how many images that can be read one is placed, and of how many that are placed one is started.</summary>
    const int PlacedShare = 8, StartedShare = 2;

    // A host that does much else may need long for what takes milliseconds.
    static readonly TimeSpan Longest = TimeSpan.FromMinutes(1);

    static readonly int Images = Number("IRPWRIGHT_FUZZ_IMAGES", 100_000), FirstSeed = Number("IRPWRIGHT_FUZZ_SEED", 0);

    static int Number(string variable, int otherwise) =>
        Environment.GetEnvironmentVariable(variable) is { } text ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;

    /// <summary>The samples, and images with what they lack: load configuration, exports, delay imports, an exception table, a small alignment.</summary>
    static IEnumerable<byte[]> Originals()
    {
        foreach (string path in SampleDrivers.Paths) yield return File.ReadAllBytes(path);
        yield return Driver().Exports(1, ("DllInitialize", 0x1000), ("Other", 0x1010), ("Forwarded", "NTOSKRNL.DbgPrint"))
            .DelayImports("hal.dll", 0x1000, "KeStallExecutionProcessor", "NoSuchRoutine").Functions(0x1000, 0x1030, 0x2000).Build();
        yield return Driver().GuardPointers(out _).Symbol("DriverEntry", 0x1000).Symbol("ALongerNameThanEight", 0x1010).Build();
        yield return new ImageBuilder { SectionAlignment = 0x20, FileAlignment = 0x20, EntryPoint = 0x400 }
            .Section(".text", ImageBuilder.Code, [0x31, 0xC0, 0xC3]).Section(".data", Data, [1]).Imports(("ntoskrnl.exe", ["IofCallDriver"])).Build();
    }

    [Fact]
    public void Damaged_images_are_read_or_refused_and_nothing_else_happens()
    {
        var mutator = new ImageMutator(Originals());
        int read = 0, placed = 0, started = 0, next = 0;
        Parallel.For(0, Environment.ProcessorCount, _ =>
        {
            for (int i; (i = Interlocked.Increment(ref next)) <= Images;)
            {
                int seed = FirstSeed + i;
                byte[] bytes = mutator.Mutate(seed);
                var clock = Stopwatch.StartNew();
                try
                {
                    if (!PortableExecutable.TryRead("driver.sys", bytes, out PortableExecutable? image, out ImageDiagnostic? error))
                    {
                        Assert.DoesNotContain('\n', error.ToString());
                        continue;
                    }
                    image.SymbolAt(image.EntryPoint);
                    image.LineAt(image.EntryPoint);
                    if (Interlocked.Increment(ref read) % PlacedShare != 0) continue;
                    ImageReport.Create(image, import => import.Name.Length > 0);
                    bool starts = Interlocked.Increment(ref placed) % StartedShare == 0;
                    if (starts) Interlocked.Increment(ref started);
                    Place(image, starts);
                }
                catch (Exception e)
                {
                    throw new InvalidOperationException($"Image {seed} (IRPWRIGHT_FUZZ_SEED={seed - 1} IRPWRIGHT_FUZZ_IMAGES=1): {e.Message}", e);
                }
                Assert.True(clock.Elapsed < Longest, $"Image {seed} took {clock.Elapsed}.");
            }
        });
        Assert.True(read > Images / 10, $"only {read} of {Images} were read: the damage is too simple");
        if (Images >= 10_000) Assert.True(started > 10, $"only {started} of {read} were started");
    }

    static void Place(PortableExecutable file, bool start)
    {
        using var machine = new Machine(new MachineOptions { ChecksMemory = CheckedMode.Here, InstructionBudget = 100_000, Watchdog = Longest });
        var drivers = new GuestDrivers(machine) { AllowsMissingImports = true };
        if (!drivers.TryPlace(file, out DriverImage? image, out ImageDiagnostic? error))
        {
            Assert.DoesNotContain('\n', error.ToString());
            return;
        }
        if (!start) return;
        try
        {
            drivers.Start(image, out Driver? driver);
            if (driver is not null) drivers.Unload(driver);
        }
        catch (Exception e) when (e is BugCheckException or MachineUnsupportedException or MachineHungException)
        {
            // What damaged code leads to.
        }
    }
}
