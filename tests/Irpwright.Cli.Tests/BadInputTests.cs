namespace Irpwright.Cli.Tests;

public class BadInputTests
{
    [Theory]
    [InlineData("read", "a read is read:OFFSET:LENGTH")]
    [InlineData("read:0", "a read is read:OFFSET:LENGTH")]
    [InlineData("read:x:16", "OFFSET 'x' is no number")]
    [InlineData("read:0:-1", "LENGTH '-1' is no number")]
    [InlineData("read:0:16:32", "LENGTH '16:32' is no number")]
    [InlineData("read::16", "OFFSET is missing")]
    [InlineData("read:0:16TiB", "LENGTH '16TiB' is no number")]
    [InlineData("read:0:4GiB", "LENGTH '4GiB' is outside 0..268435456")]
    [InlineData("write:0:0g", "'g' in '0g' is no hexadecimal digit")]
    [InlineData("write:0:123", "odd number of hexadecimal digits")]
    [InlineData("write:0:@/nowhere/data", "no such file: /nowhere/data")]
    [InlineData("write:0:@/", "/ is a directory")]
    [InlineData("ioctl", "a control request is ioctl:CODE")]
    [InlineData("ioctl:zzz", "CODE 'zzz' is no number")]
    [InlineData("ioctl:0x1ffffffff", "CODE '0x1ffffffff' is outside")]
    [InlineData("ioctl:1:zz", "'z' in 'zz' is no hexadecimal digit")]
    [InlineData("ioctl:1:00:many", "OUT-LENGTH 'many' is no number")]
    [InlineData("flush:1", "flush takes no '1'")]
    [InlineData("read:0:16:x0", "the count after x '0' is outside")]
    [InlineData("read:0:16:xyz", "the count after x 'yz' is no number")]
    [InlineData("pnp:explode", "a PnP request is pnp:start, stop,")]
    [InlineData("pnp:stop:async", "PnP and power requests are waited for")]
    [InlineData("power:D4", "a power request is power:D0 to power:D3 for the device, or power:S0 to power:S5")]
    [InlineData("power:deep", "a power request is power:D0")]
    [InlineData("seek:0", "'seek' is no request; there are read, write, ioctl, flush, pnp and power")]
    [InlineData("", "'' is no request")]
    public void A_bad_request_says_which_part_is_wrong(string request, string problem)
    {
        string complaint = Command.Run("run", "passthrough", "-r", request).AssertComplains(2);
        Assert.StartsWith($"irpwright: --request {request}: ", complaint, StringComparison.Ordinal);
        Assert.Contains(problem, complaint, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ramdisk:0", "the size '0' is none")]
    [InlineData("ramdisk:2GiB", "the size '2GiB' is none")]
    [InlineData("ramdisk:big", "the size 'big' is none")]
    [InlineData("file", "name the file")]
    [InlineData("file:", "name the file")]
    [InlineData("file:/nowhere/disk.img", "no such file")]
    [InlineData("file:/", "that is a directory")]
    [InlineData("floppy", "'floppy' is no device")]
    public void A_bad_device_says_which_part_is_wrong(string device, string problem)
    {
        string complaint = Command.Run("run", "passthrough", "--device", device, "-r", "read:0:1").AssertComplains(2);
        Assert.StartsWith($"irpwright: --device {device}: {problem}", complaint, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("There is no command or option 'frobnicate'. See 'irpwright --help'.", "frobnicate")]
    [InlineData("Required command was not provided. See 'irpwright --help'.")]
    [InlineData("Name a driver or a --device. See 'irpwright run --help'.", "run")]
    [InlineData("Required argument missing for option: '--device'. See 'irpwright run --help'.", "run", "passthrough", "--device")]
    [InlineData("--bogus: no option of that name. See 'irpwright --help'.", "run", "--bogus")]
    [InlineData("--schedule now: 'now' is no schedule; there are free, fifo and random:SEED.", "run", "ramdisk", "--schedule", "now")]
    [InlineData("--schedule random: give a seed, as in random:1; the same seed repeats the run.", "run", "ramdisk", "--schedule", "random")]
    [InlineData("--schedule random:x: the seed 'x' is no number.", "run", "ramdisk", "--schedule", "random:x")]
    [InlineData("--trace xml: 'xml' is no format; there are text and json.", "run", "ramdisk", "--trace", "xml")]
    [InlineData("--trace text:: the file name after the colon is missing.", "run", "ramdisk", "--trace", "text:")]
    [InlineData("--watchdog 0: give seconds, more than 0 and at most 86400.", "run", "ramdisk", "--watchdog", "0")]
    public void Bad_usage_is_one_line(string complaint, params string[] args) =>
        Assert.Equal("irpwright: " + complaint, Command.Run(args).AssertComplains(2));

    [Theory]
    [InlineData("/nowhere/settings.reg", "no such file.")]
    [InlineData("/", "that is a directory.")]
    public void A_registration_file_that_cannot_be_read_is_named(string file, string problem) =>
        Assert.Equal($"irpwright: --registry {file}: {problem}", Command.Run("run", "ramdisk", "--registry", file).AssertComplains(2));

    [Theory]
    [InlineData("[HKEY_LOCAL_MACHINE]", "line 1: a registration file begins with")]
    [InlineData("Windows Registry Editor Version 5.00\n\n[HKLM\\Software]\n\"a\"=dword:xyz", "line 4: dword:xyz is no dword")]
    public void A_registration_file_that_is_wrong_is_named_with_the_line(string text, string problem)
    {
        string file = TestFiles.Temporary("wrong.reg", System.Text.Encoding.UTF8.GetBytes(text));
        string complaint = Command.Run("run", "ramdisk", "--registry", file).AssertComplains(2);
        Assert.StartsWith($"irpwright: --registry {file}, {problem}", complaint, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_cannot_be_written_is_named()
    {
        Assert.StartsWith("irpwright: --json: /nowhere/x cannot be written: ",
            Command.Run("run", "ramdisk", "--json", "/nowhere/x").AssertComplains(2), StringComparison.Ordinal);
        Assert.StartsWith("irpwright: --trace: /nowhere/x cannot be written: ",
            Command.Run("run", "ramdisk", "--trace", "json:/nowhere/x").AssertComplains(2), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("run")]
    [InlineData("inspect")]
    public void A_missing_file_is_named(string command) => Assert.Equal(
        "irpwright: /nowhere/driver.sys: no such file; check the path", Command.Run(command, "/nowhere/driver.sys").AssertComplains(2));

    [Theory]
    [InlineData("run")]
    [InlineData("inspect")]
    public void A_directory_is_no_driver(string command) =>
        Assert.Equal("irpwright: /: is a directory; name a driver image (.sys)", Command.Run(command, "/").AssertComplains(2));

    [Theory]
    [InlineData("run")]
    [InlineData("inspect")]
    public void A_file_that_is_no_image_is_refused(string command)
    {
        string path = TestFiles.Temporary("text.sys", "This is text."u8);
        Assert.StartsWith($"irpwright: {path}: ", Command.Run(command, path).AssertComplains(2), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0x014C)] // i386
    [InlineData(0xAA64)] // ARM64
    public void An_image_for_another_processor_is_refused(int machine)
    {
        byte[] image = File.ReadAllBytes(TestFiles.Sample("passthrough"));
        BitConverter.TryWriteBytes(image.AsSpan(BitConverter.ToInt32(image, 0x3C) + 4), (ushort)machine);
        string path = TestFiles.Temporary("other.sys", image);
        string complaint = Command.Run("run", path).AssertComplains(2);
        Assert.StartsWith($"irpwright: {path}: IMAGE_FILE_HEADER.Machine", complaint, StringComparison.Ordinal);
    }

    [Fact]
    public void A_truncated_image_is_refused_at_any_length()
    {
        byte[] image = File.ReadAllBytes(TestFiles.Sample("passthrough"));
        string path = TestFiles.Temporary("short.sys");
        foreach (int length in (ReadOnlySpan<int>)[1, 63, 64, 100, 300, 600, 1024, 2048])
        {
            File.WriteAllBytes(path, image[..length]);
            Command.Run("run", path).AssertComplains(2);
        }
    }

    [Fact]
    public void Each_unsupported_import_is_named_with_its_use() => Assert.Equal(
        $"irpwright: {TestFiles.Sample("broken-import")}: the driver cannot run, as this version does not have its import "
            + "ntoskrnl.exe!IrpwrightNoSuchExport (used by BrokenImportDispatchRead+0xf)",
        Command.Run("run", TestFiles.Sample("broken-import")).AssertComplains(3));

    [Fact]
    public void A_lenient_run_stops_at_the_first_use_of_an_unsupported_import()
    {
        string driver = TestFiles.Sample("broken-import");
        Assert.Equal(0, Command.Run("run", "--lenient", driver).ExitCode);
        Assert.Equal(
            "irpwright: broken-import!BrokenImportDispatchRead+0x15 calls ntoskrnl.exe!IrpwrightNoSuchExport, which this version does not have.",
            Command.Run("run", "--lenient", driver, "-r", "read:0:16").AssertComplains(3));
    }

    [Fact]
    public void An_unknown_name_lists_the_built_in_drivers() => Assert.StartsWith(
        "irpwright: frobnicate: no driver of that name; built in: passthrough, ramdisk, scripted.",
        Command.Run("run", "frobnicate").AssertComplains(2), StringComparison.Ordinal);

    [Fact]
    public void A_type_that_does_not_exist_lists_those_that_do()
    {
        string complaint = Command.Run("run", $"{TestFiles.Assembly}:Nobody").AssertComplains(2);
        Assert.Contains("no driver type 'Nobody'; it contains Irpwright.Cli.Tests.Configured, Irpwright.Cli.Tests.Demanding, ", complaint, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Demanding", 2, "needs constructor arguments")]
    [InlineData("Refusing", 3, "DriverEntry returned STATUS_DEVICE_CONFIGURATION_ERROR")]
    public void A_type_that_cannot_be_used_is_named(string type, int exitCode, string problem) => Assert.Contains(
        problem, Command.Run("run", $"{TestFiles.Assembly}:{type}").AssertComplains(exitCode), StringComparison.Ordinal);

    [Theory]
    [InlineData("/nowhere/x.dll:Type", "no such file")]
    [InlineData("/:Type", "no such file")]
    public void An_assembly_that_does_not_exist_is_named(string driver, string problem) =>
        Assert.Contains(problem, Command.Run("run", driver).AssertComplains(2), StringComparison.Ordinal);

    [Fact]
    public void A_compiled_driver_is_no_assembly()
    {
        string path = TestFiles.Temporary("native.dll", File.ReadAllBytes(TestFiles.Sample("queue")));
        Assert.Contains("is no .NET assembly", Command.Run("run", $"{path}:Queue").AssertComplains(2), StringComparison.Ordinal);
    }

    [Fact]
    public void An_assembly_without_a_type_asks_for_one() => Assert.Equal(
        $"irpwright: {TestFiles.Assembly}: name the driver class in it, as {TestFiles.Assembly}:Type.",
        Command.Run("run", TestFiles.Assembly).AssertComplains(2));

    [Fact]
    public void A_device_that_does_not_exist_lists_those_that_do() => Assert.Equal(
        @"irpwright: --open \Device\Nobody: no device of that name; there are \Device\RamDisk0.",
        Command.Run("run", "ramdisk", "--open", @"\Device\Nobody").AssertComplains(2));

    [Fact]
    public void Two_software_devices_need_a_choice() => Assert.Contains(
        @"Choose one with --open; there are \Device\Mirror, \Device\RamDisk0",
        Command.Run("run", "ramdisk", $"{TestFiles.Assembly}:Mirror", "-r", "flush").AssertComplains(2), StringComparison.Ordinal);

    [Fact]
    public void Nothing_is_left_of_a_result_file_after_bad_input()
    {
        string file = TestFiles.Temporary("result.json");
        Command.Run("run", "/nowhere/driver.sys", "--json", file).AssertComplains(2);
        Assert.False(File.Exists(file));
    }
}
