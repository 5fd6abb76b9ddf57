using Irpwright.Kernel;
using Irpwright.Testing;

namespace Irpwright.Cli;

/// <summary>The <c>--device</c> at the bottom of the stack.</summary>
/// <param name="DeviceName">Name of its device object.</param>
sealed record DeviceSpec(string Kind, string DeviceName, Func<WdmDriver> Create)
{
    const int MaximumRamDisk = 1 << 30;

    public static DeviceSpec Default => Parse("ramdisk");

    /// <exception cref="CommandException">Says which part is wrong.</exception>
    public static DeviceSpec Parse(string text)
    {
        string[] parts = text.Split(':', 2);
        switch (parts[0])
        {
            case "ramdisk":
                long size = 64 << 10;
                if (parts.Length == 2 && (!RequestSpec.TryNumber(parts[1], out size) || size is < 1 or > MaximumRamDisk))
                    throw Bad(text, $"size '{parts[1]}' is none; write 4096, 0x1000 or 64KiB, at most 1GiB");
                const string name = @"\Device\RamDisk0";
                return new DeviceSpec("ramdisk", name, () => new RamDisk((int)size, name));
            default:
                throw Bad(text, $"'{parts[0]}' is no device; there is ramdisk:SIZE");
        }
    }

    static CommandException Bad(string text, string problem) => CommandException.BadInput($"--device {text}: {problem}.");
}
