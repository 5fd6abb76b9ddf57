using Irpwright.Kernel;
using Irpwright.Testing;

namespace Irpwright.Cli;

/// <summary>The <c>--device</c> at the bottom of the stack.</summary>
/// <param name="Text">As given.</param>
/// <param name="Service">Name of its driver.</param>
/// <param name="DeviceName">Name of its device object.</param>
/// <param name="Create">Null for a device of the root bus, which has no driver of its own.</param>
sealed record DeviceSpec(string Text, string Service, string DeviceName, Func<WdmDriver>? Create)
{
    const int MaximumRamDisk = 1 << 30;

    public static DeviceSpec Default => RamDisk("ramdisk", 64 << 10);

    /// <exception cref="CommandException">Says which part is wrong.</exception>
    public static DeviceSpec Parse(string text)
    {
        switch (text.Split(':', 2))
        {
            case ["ramdisk"]:
                return Default;
            case ["ramdisk", var size]:
                if (!RequestSpec.TryNumber(size, out long bytes) || bytes is < 1 or > MaximumRamDisk)
                    throw Bad(text, $"the size '{size}' is none; write 4096, 0x1000 or 64KiB, at most 1GiB");
                return RamDisk(text, (int)bytes);
            case ["file", { Length: > 0 } path]:
                return new DeviceSpec(text, "filedisk", @"\Device\Disk0", () => OpenFile(text, path));
            case ["file", ..]:
                throw Bad(text, "name the file, as in file:disk.img");
            case ["root"]:
                return new DeviceSpec(text, "", "", null);
            case ["scripted"]:
                return new DeviceSpec(text, "scripted", @"\Device\Scripted0", () => new ScriptedDevice());
            case [var kind, ..]:
                throw Bad(text, $"'{kind}' is no device; there are ramdisk:SIZE, file:PATH, scripted and root");
            default:
                throw Bad(text, "it is empty");
        }
    }

    static DeviceSpec RamDisk(string text, int size)
    {
        const string name = @"\Device\RamDisk0";
        return new DeviceSpec(text, "ramdisk", name, () => new RamDisk(size, name));
    }

    static FileDisk OpenFile(string text, string path)
    {
        if (Directory.Exists(path)) throw Bad(text, "that is a directory; name a disk image");
        if (!File.Exists(path)) throw Bad(text, "no such file");
        try
        {
            return new FileDisk(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw Bad(text, $"it cannot be opened: {e.Message.TrimEnd('.')}");
        }
    }

    static CommandException Bad(string text, string problem) => CommandException.BadInput($"--device {text}: {problem}.");
}
