using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The counts of devices that drivers keep together.</summary>
public sealed class Configuration
{
    const uint Tag = 0x6F436F49; // "IoCo"

    readonly PCONFIGURATION_INFORMATION information;

    internal Configuration(Machine machine)
    {
        information = new PCONFIGURATION_INFORMATION(machine.Pool.Allocate(POOL_TYPE.NonPagedPool, CONFIGURATION_INFORMATION.SizeOf, Tag, 0, zero: true));
        information.Version = CONFIGURATION_INFORMATION.SizeOf;
    }

    /// <summary>The system's one structure; a driver adds the devices that it creates. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public PCONFIGURATION_INFORMATION IoGetConfigurationInformation() => information;
}
