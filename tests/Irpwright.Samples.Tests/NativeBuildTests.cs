using System.Diagnostics;
using System.Reflection.PortableExecutable;
using System.Security.Cryptography;

namespace Irpwright.Samples.Tests;

/// <summary>The native sample drivers: the checked-in images are what the sources and the recorded toolchain make.</summary>
public sealed class NativeBuildTests
{
    const string Compiler = "x86_64-w64-mingw32-gcc";
    const string RecordName = "BUILD.txt";
    const int LargestImage = 32 * 1024;

    static readonly string[] Record = File.ReadAllLines(Path.Combine(SampleFiles.NativeImages, RecordName));

    static IEnumerable<string> RecordedToolchain => Record.Where(line => line.Contains(": ", StringComparison.Ordinal));

    public static TheoryData<string> Images() => [.. NamesOf(SampleFiles.NativeImages, "*.sys").Select(name => $"{name}.sys")];

    [Fact]
    public void Every_source_has_an_image_and_every_image_a_source()
    {
        string[] sources = NamesOf(SampleFiles.Native, "*.c");
        IEnumerable<string> withoutTheirBug = sources.Where(HasFix).Select(name => name.Replace("broken-", "fixed-", StringComparison.Ordinal));

        Assert.Equal(sources.Concat(withoutTheirBug).Order(StringComparer.Ordinal), NamesOf(SampleFiles.NativeImages, "*.sys"));
    }

    [Fact]
    public void The_build_record_describes_the_images_beside_it()
        => Assert.Equal(DescribeFiles(SampleFiles.NativeImages, "*.sys"), Record.Except(RecordedToolchain));

    [Theory]
    [MemberData(nameof(Images))]
    public void An_image_is_a_small_x64_native_driver_with_symbols_and_without_a_date(string name)
    {
        using FileStream file = File.OpenRead(Path.Combine(SampleFiles.NativeImages, name));
        using PEReader reader = new(file);
        PEHeaders headers = reader.PEHeaders;

        Assert.Equal(Machine.Amd64, headers.CoffHeader.Machine);
        Assert.Equal(Subsystem.Native, headers.PEHeader!.Subsystem);
        Assert.Equal(0, headers.CoffHeader.TimeDateStamp);
        Assert.NotEqual(0, headers.CoffHeader.PointerToSymbolTable);
        Assert.False(headers.CoffHeader.Characteristics.HasFlag(Characteristics.RelocsStripped));
        Assert.Equal(".text", headers.SectionHeaders[headers.GetContainingSectionIndex(headers.PEHeader.AddressOfEntryPoint)].Name);
        Assert.DoesNotContain(headers.SectionHeaders, section => section.SectionCharacteristics.HasFlag(
            SectionCharacteristics.MemExecute | SectionCharacteristics.MemWrite));
        Assert.InRange(file.Length, 1, LargestImage - 1);
    }

    [Fact]
    public async Task Rebuilding_gives_the_checked_in_images_byte_for_byte()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "the build script needs a Unix shell");
        Assert.SkipUnless(IsOnPath(Compiler), $"{Compiler} is not installed (Debian: gcc-mingw-w64-x86-64)");

        string[] toolchain = (await RunBuildScript("--toolchain")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.SkipUnless(toolchain.SequenceEqual(RecordedToolchain),
            $"other toolchain: {string.Join("; ", toolchain)}; recorded: {string.Join("; ", RecordedToolchain)}");

        DirectoryInfo rebuilt = Directory.CreateTempSubdirectory("irpwright-native-");
        try
        {
            await RunBuildScript(rebuilt.FullName);

            Assert.Equal(DescribeFiles(SampleFiles.NativeImages, "*"), DescribeFiles(rebuilt.FullName, "*"));
        }
        finally
        {
            rebuilt.Delete(recursive: true);
        }
    }

    /// <summary>Whether a source says how the driver would be right.</summary>
    static bool HasFix(string name) => File.ReadAllText(Path.Combine(SampleFiles.Native, $"{name}.c")).Contains("def FIXED", StringComparison.Ordinal);

    static string[] NamesOf(string directory, string pattern)
        => [.. Directory.GetFiles(directory, pattern).Select(path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal)];

    /// <summary>A line for each file, as in the build record: name, size in bytes and SHA-256, two spaces between.</summary>
    static string[] DescribeFiles(string directory, string pattern)
        => [.. Directory.GetFiles(directory, pattern).Order(StringComparer.Ordinal).Select(path =>
        {
            byte[] bytes = File.ReadAllBytes(path);
            return $"{Path.GetFileName(path)}  {bytes.Length}  {Convert.ToHexStringLower(SHA256.HashData(bytes))}";
        })];

    static bool IsOnPath(string program)
        => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Any(directory => File.Exists(Path.Combine(directory, program)));

    /// <summary>Runs the script and returns its standard output.</summary>
    static async Task<string> RunBuildScript(string argument)
    {
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        ProcessStartInfo start = new("bash", [Path.Combine(SampleFiles.Native, "build.sh"), argument])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync(cancellation);
        string output = await process.StandardOutput.ReadToEndAsync(cancellation);
        await process.WaitForExitAsync(cancellation);
        Assert.True(process.ExitCode == 0, $"build.sh {argument} failed: {await errors}");

        return output;
    }
}
