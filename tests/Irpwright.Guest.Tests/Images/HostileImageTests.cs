using System.Diagnostics;
using Irpwright.Guest.Images;
using static Irpwright.Guest.Tests.Images.ImageBuilder;

namespace Irpwright.Guest.Tests.Images;

/// <summary>Files that are no drivers, damaged ones, and ones made to hurt: each is refused with one line, and none throws.</summary>
public class HostileImageTests
{
    static ImageDiagnostic Refuse(byte[] bytes)
    {
        Assert.False(PortableExecutable.TryRead("driver.sys", bytes, out PortableExecutable? image, out ImageDiagnostic? error));
        Assert.Null(image);
        Assert.DoesNotContain('\n', error.ToString());
        Assert.StartsWith("driver.sys: ", error.ToString());
        return error;
    }

    static ImageDiagnostic RefuseWith(Action<byte[]> damage)
    {
        byte[] bytes = Driver().Build();
        damage(bytes);
        return Refuse(bytes);
    }

    [Fact]
    public void A_missing_file_is_named() =>
        Assert.Equal((ImageProblem.Unreadable, "nowhere/x.sys: no such file; check the path"), RefuseFile("nowhere/x.sys"));

    [Fact]
    public void A_directory_is_not_read() => Assert.Equal(ImageProblem.Unreadable, RefuseFile(Path.GetTempPath()).Problem);

    [Theory]
    [InlineData("")]
    [InlineData("a\0b")]
    public void An_impossible_path_is_a_diagnostic(string path) => Assert.Equal(ImageProblem.Unreadable, RefuseFile(path).Problem);

    [Fact]
    public void A_device_without_an_end_is_not_read_for_ever()
    {
        Assert.SkipUnless(File.Exists("/dev/zero"), "the host has no /dev/zero");
        Assert.Equal(ImageProblem.TooLarge, RefuseFile("/dev/zero").Problem);
    }

    static (ImageProblem Problem, string Line) RefuseFile(string path)
    {
        Assert.False(PortableExecutable.TryReadFile(path, out _, out ImageDiagnostic? error));
        return (error.Problem, error.ToString());
    }

    [Theory]
    [InlineData(new byte[0], "the file is empty")]
    [InlineData(new byte[] { 1 }, "does not begin with MZ;")]
    [InlineData(new byte[] { 0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1 }, "it is an ELF file")]
    [InlineData(new byte[] { (byte)'P', (byte)'K', 3, 4 }, "it is a zip archive")]
    [InlineData(new byte[] { 0x64, 0x86, 1, 0 }, "it looks like an object file that was not linked yet")]
    public void A_file_that_is_no_image_is_recognised(byte[] bytes, string words)
    {
        ImageDiagnostic error = Refuse(bytes);
        Assert.Equal(ImageProblem.NotPortableExecutable, error.Problem);
        Assert.Contains(words, error.Message);
    }

    [Theory]
    [InlineData(0x014C, "32-bit x86")]
    [InlineData(0xAA64, "ARM64")]
    [InlineData(0x01C4, "32-bit ARM")]
    [InlineData(0x1234, "an unknown machine")]
    public void An_image_for_another_machine_is_named(int machine, string name)
    {
        ImageDiagnostic error = RefuseWith(bytes => Put16(bytes, FileHeader, (ushort)machine));
        Assert.Equal(ImageProblem.WrongMachine, error.Problem);
        Assert.Equal("IMAGE_FILE_HEADER.Machine (offset 0x84)", error.Place);
        Assert.Contains($"is for {name} (0x{machine:X4})", error.Message);
        Assert.EndsWith("build the driver for x64", error.Message);
    }

    [Fact]
    public void A_PE32_image_is_32_bit_whatever_its_machine() =>
        Assert.Equal(ImageProblem.WrongMachine, RefuseWith(bytes => Put16(bytes, OptionalHeader, 0x10B)).Problem);

    [Theory]
    [InlineData(2, "a Windows program or DLL")]
    [InlineData(3, "a Windows program or DLL")]
    [InlineData(11, "an EFI image")]
    [InlineData(0, "of subsystem 0")]
    public void Only_subsystem_native_is_a_driver(int subsystem, string words)
    {
        ImageDiagnostic error = RefuseWith(bytes => Put16(bytes, OptionalHeader + 68, (ushort)subsystem));
        Assert.Equal(ImageProblem.NotDriver, error.Problem);
        Assert.Contains(words, error.Message);
        Assert.Contains("/SUBSYSTEM:NATIVE", error.Message);
    }

    [Fact]
    public void A_driver_that_is_marked_as_DLL_is_accepted()
    {
        byte[] bytes = Driver().Build();
        Put16(bytes, FileHeader + 18, 0x2022);
        Assert.True(PortableExecutableTests.Read(bytes).Characteristics.HasFlag(ImageCharacteristics.Dll));
    }

    [Theory]
    [InlineData(FileHeader + 2, 0, "NumberOfSections")]
    [InlineData(FileHeader + 2, 97, "NumberOfSections")]
    [InlineData(FileHeader + 16, 0x60, "SizeOfOptionalHeader")]
    [InlineData(FileHeader + 16, 0xFFF8, "SizeOfHeaders")]
    [InlineData(FileHeader + 18, 0, "Characteristics")]
    [InlineData(OptionalHeader, 0x107, "Magic")]
    public void A_wrong_16_bit_field_is_named(int offset, int value, string field) =>
        AssertNames(field, RefuseWith(bytes => Put16(bytes, offset, (ushort)value)));

    [Theory]
    [InlineData(0x3C, 0xFFFF_FFFFu, "e_lfanew")]
    [InlineData(0x3C, 0x3Eu, "PE signature")]
    [InlineData(PeOffset, 0x454Eu, "PE signature")]
    [InlineData(OptionalHeader + 16, 0x0100_0000u, "AddressOfEntryPoint")]
    [InlineData(OptionalHeader + 24, 0x4000_1000u, "ImageBase")]
    [InlineData(OptionalHeader + 32, 0x1001u, "SectionAlignment")]
    [InlineData(OptionalHeader + 32, 0x100u, "SectionAlignment")]
    [InlineData(OptionalHeader + 32, 0u, "SectionAlignment")]
    [InlineData(OptionalHeader + 36, 0u, "FileAlignment")]
    [InlineData(OptionalHeader + 36, 0x100u, "FileAlignment")]
    [InlineData(OptionalHeader + 36, 0x201u, "FileAlignment")]
    [InlineData(OptionalHeader + 56, 0u, "SizeOfHeaders")]
    [InlineData(OptionalHeader + 56, 0x0400_0001u, "SizeOfImage")]
    [InlineData(OptionalHeader + 56, 0xFFFF_FFFFu, "SizeOfImage")]
    [InlineData(OptionalHeader + 56, 0x5000u, "section .idata, VirtualSize")]
    [InlineData(OptionalHeader + 60, 0x100u, "SizeOfHeaders")]
    [InlineData(OptionalHeader + 60, 0x7000u, "SizeOfHeaders")]
    [InlineData(SectionTable + 8, 0xFFFF_FFFFu, "section .text, VirtualSize")]
    [InlineData(SectionTable + 8, 0x1001u, "section .rdata, VirtualAddress")]
    [InlineData(SectionTable + 12, 0u, "section .text, VirtualAddress")]
    [InlineData(SectionTable + 12, 0x1010u, "section .text, VirtualAddress")]
    [InlineData(SectionTable + 12, 0xFFFF_F000u, "section .text, VirtualSize")]
    [InlineData(SectionTable + 40 + 12, 0x1000u, "section .rdata, VirtualAddress")]
    [InlineData(SectionTable + 16, 0xFFFF_FFFFu, "section .text, SizeOfRawData")]
    [InlineData(SectionTable + 20, 0xFFFF_FE00u, "section .text, SizeOfRawData")]
    [InlineData(SectionTable + 20, 0x401u, "section .text, PointerToRawData")]
    [InlineData(Directories + 8, 0x0100_0000u, "Import Table (data directory 1)")]
    [InlineData(Directories + 8 + 4, 0xFFFF_FFFFu, "Import Table (data directory 1)")]
    [InlineData(Directories + 5 * 8, 0xFFFF_FFF0u, "Base Relocation Table (data directory 5)")]
    public void A_wrong_32_bit_field_is_named(int offset, uint value, string field) =>
        AssertNames(field, RefuseWith(bytes => Put32(bytes, offset, value)));

    static void AssertNames(string field, ImageDiagnostic error)
    {
        Assert.Contains(field, error.Place);
        Assert.Matches("; (the file is damaged, )?(link|copy|name|build) ", error.Message + " ");
    }

    [Fact]
    public void Every_truncation_is_refused()
    {
        byte[] bytes = Driver().Build();
        for (int length = 0; length < bytes.Length; length++) Refuse(bytes[..length]);
    }

    [Theory]
    [InlineData(0, 2, 0x3000u)]
    [InlineData(10, 2, 0xFFFF_0000u)]
    [InlineData(3, 2, 0x0200_0000u)]
    public void A_directory_that_is_not_needed_to_load_is_ignored_with_a_warning(int index, uint size, uint rva)
    {
        byte[] bytes = Driver().Build();
        Put32(bytes, Directories + index * 8, rva);
        Put32(bytes, Directories + index * 8 + 4, size + 0x0100_0000);
        Assert.Contains($"(data directory {index})", Assert.Single(PortableExecutableTests.Read(bytes).Warnings).Place);
    }

    static byte[] DamageSection(string name, int offset, params byte[] damage)
    {
        ImageBuilder builder = Driver();
        byte[] bytes = builder.Build();
        int at = (int)PortableExecutableTests.Read(bytes).Sections.Single(section => section.Name == name).PointerToRawData;
        damage.CopyTo(bytes, at + offset);
        return bytes;
    }

    [Theory]
    [InlineData(12, new byte[] { 0, 0, 0, 0x7F }, "leads to no module name")]
    [InlineData(12, new byte[] { 0xF0, 0x57, 0, 0 }, "leads to no module name")]
    [InlineData(16, new byte[] { 0, 0, 0, 0x7F }, "run past the end of the image")]
    [InlineData(60, new byte[] { 0, 0, 0, 0x7F }, "leads to no Hint/Name entry")]
    [InlineData(64, new byte[] { 1 }, "leads to no Hint/Name entry")]
    public void A_damaged_import_table_is_refused(int offset, byte[] damage, string words)
    {
        ImageDiagnostic error = Refuse(DamageSection(".idata", offset, damage));
        Assert.Equal(ImageProblem.BadDirectory, error.Problem);
        Assert.Contains(words, error.Message);
    }

    /// <summary>A name with control characters could drive the terminal it is printed on.</summary>
    [Fact]
    public void Unprintable_names_are_refused() =>
        Assert.Contains("leads to no Hint/Name entry",
            Refuse(new ImageBuilder().Section(".text", Code, [0xC3]).Imports(("ntoskrnl.exe", ["Io\x1B[2J"])).Build()).Message);

    /// <summary>Thousands of descriptors that share one long table would otherwise cost minutes and gigabytes.</summary>
    [Fact]
    public void Import_descriptors_that_share_a_table_stop_at_a_limit()
    {
        var builder = new ImageBuilder();
        const int descriptors = 50_000, thunks = 50_000;
        uint rva = builder.NextRva;
        uint tableRva = rva + (descriptors + 1) * 20, nameRva = tableRva + (thunks + 1) * 8;
        byte[] bytes = [
            .. Doublewords([.. Enumerable.Repeat<uint[]>([tableRva, 0, 0, nameRva, tableRva], descriptors).SelectMany(d => d)]),
            .. new byte[20],
            .. Quadwords([.. Enumerable.Repeat(1UL << 63, thunks), 0]), .. "x.sys\0"u8];
        Assert.Contains("more than 65536 imports", Refuse(builder.Section(".idata", Data, bytes).Directory(1, rva, 20).Build()).Message);
    }

    [Theory]
    [InlineData(4, new byte[] { 7 }, "SizeOfBlock 0x7 is not possible")]
    [InlineData(4, new byte[] { 0 }, "SizeOfBlock 0x0 is not possible")]
    [InlineData(4, new byte[] { 0x0D }, "SizeOfBlock 0xD is not possible")]
    [InlineData(4, new byte[] { 0xFF, 0xFF, 0xFF, 0xFF }, "SizeOfBlock 0xFFFFFFFF is not possible")]
    [InlineData(0, new byte[] { 0, 0xF0, 0xFF, 0xFF }, "outside the image")]
    [InlineData(9, new byte[] { 0x30 }, "relocation type IMAGE_REL_BASED_HIGHLOW")]
    [InlineData(9, new byte[] { 0xB0 }, "relocation type 11")]
    public void A_damaged_relocation_table_is_refused(int offset, byte[] damage, string words) =>
        Assert.Contains(words, Refuse(DamageSection(".reloc", offset, damage)).Message);

    /// <summary>
    /// Random bytes in random places, half of the time in the headers, then sometimes a cut. Whatever comes of it, reading ends soon,
    /// throws nothing, and an accepted image answers every question about itself.
    /// </summary>
    [Theory]
    [MemberData(nameof(Originals))]
    public void No_mutation_throws_or_takes_long(string name, byte[] original)
    {
        var random = new Random(20_000 + name.Length);
        var clock = Stopwatch.StartNew();
        int accepted = 0;
        const int rounds = 3000;
        for (int round = 0; round < rounds; round++)
        {
            byte[] bytes = [.. original];
            for (int i = random.Next(1, 6); i > 0; i--)
            {
                int at = random.Next(random.Next(2) == 0 ? Math.Min(0x400, bytes.Length) : bytes.Length);
                switch (random.Next(4))
                {
                    case 0: bytes[at] = (byte)random.Next(256); break;
                    case 1: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                    case 2: bytes[at] = 0xFF; break;
                    default: random.NextBytes(bytes.AsSpan(at, Math.Min(random.Next(1, 9), bytes.Length - at))); break;
                }
            }
            if (random.Next(8) == 0) bytes = bytes[..random.Next(bytes.Length)];
            if (!PortableExecutable.TryRead(name, bytes, out PortableExecutable? image, out ImageDiagnostic? error))
            {
                Assert.NotEmpty(error.Message);
                continue;
            }
            accepted++;
            _ = image.ImportHash;
            _ = ImageReport.Create(image, _ => true);
            for (int i = 0; i < 16; i++)
            {
                uint rva = (uint)random.NextInt64(i < 8 ? image.SizeOfImage : uint.MaxValue);
                _ = (image.SymbolAt(rva), image.FunctionAt(rva), image.SectionAt(rva));
            }
        }
        Assert.InRange(accepted, rounds / 20, rounds);
        Assert.True(clock.Elapsed < TimeSpan.FromMinutes(10), $"{rounds} mutations of {name} took {clock.Elapsed}");
    }

    public static TheoryData<string, byte[]> Originals()
    {
        ImageBuilder original = Driver().Symbol("DriverEntry", 0x1000)
            .Functions(0x1000, 0x1030, 0x2000).Exports(1, ("DllInitialize", 0x1010u), ("Other", "hal.X"));
        var originals = new TheoryData<string, byte[]>
        {
            { "builder", original.Build() },
        };
        foreach (string path in SampleDrivers.Paths.Take(2)) originals.Add(Path.GetFileName(path), File.ReadAllBytes(path));
        return originals;
    }
}
