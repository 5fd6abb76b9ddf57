using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Pnp;

/// <summary>A test that is the function driver of Plug and Play devices: it notes every PnP request and answers as told.</summary>
public abstract class PnpTest : DriverTest
{
    static readonly string[] Minors =
    [
        "START", "QUERY_REMOVE", "REMOVE", "CANCEL_REMOVE", "STOP", "QUERY_STOP", "CANCEL_STOP", "QUERY_RELATIONS", "QUERY_INTERFACE", "QUERY_CAPABILITIES",
        "QUERY_RESOURCES", "QUERY_REQUIREMENTS", "QUERY_TEXT", "FILTER_REQUIREMENTS", "0E", "READ_CONFIG", "WRITE_CONFIG", "EJECT", "SET_LOCK", "QUERY_ID",
        "QUERY_STATE", "QUERY_BUS", "USAGE", "SURPRISE_REMOVAL", "18", "ENUMERATED",
    ];

    /// <summary>What the function driver completes a request with, by minor code; null to pass it down.</summary>
    protected Func<byte, PIRP, NTSTATUS?> Answer { get; set; } = static (_, _) => null;

    /// <summary>What AddDevice returns without attaching anything; null to attach.</summary>
    protected NTSTATUS? AddDeviceFails { get; set; }

    /// <summary>Handles what is no PnP request; succeeds by default.</summary>
    protected DRIVER_DISPATCH? Other { get; set; }

    /// <summary>Sees each request of the PnP manager before it is noted.</summary>
    protected Action<PIRP>? Inspect { get; set; }

    protected static string NameOf(byte minor) => Minors[minor];

    protected PlugAndPlay Pnp => Machine.PlugAndPlay;

    /// <summary>A device of the root bus for which this test is the function driver; enumerated only.</summary>
    protected DeviceNode Report(DeviceDescription? description = null, DeviceInstallation? installation = null)
    {
        description ??= new DeviceDescription(@"ROOT\SAMPLE");
        Pnp.Install(description.DeviceId, installation ?? new DeviceInstallation { Function = ThisDriver() });
        return Pnp.Report(description);
    }

    /// <summary>This test as an installed driver; unloading it changes nothing.</summary>
    protected DriverService ThisDriver()
    {
        DriverObject.DriverExtension.AddDevice = Routine(AddDevice);
        Driver driver = Machine.Drivers.Find(DriverObject)!;
        return new DriverService("test", () => (STATUS_SUCCESS, driver), _ =>
        {
            Step("unload");
            return true;
        });
    }

    protected DeviceNode Started(DeviceDescription? description = null)
    {
        DeviceNode node = Report(description);
        Assert.Equal(STATUS_SUCCESS, Pnp.Start(node));
        return node;
    }

    NTSTATUS AddDevice(PDRIVER_OBJECT DriverObject, PDEVICE_OBJECT PhysicalDeviceObject)
    {
        Step("AddDevice");
        if (AddDeviceFails is { } failure) return failure;
        PDEVICE_OBJECT lower = IoGetAttachedDevice(PhysicalDeviceObject);
        Device((device, irp) => Dispatch(device, lower, irp), above: PhysicalDeviceObject, lower.Flags & DO_POWER_PAGABLE);
        return STATUS_SUCCESS;
    }

    NTSTATUS Dispatch(PDEVICE_OBJECT device, PDEVICE_OBJECT lower, PIRP irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
        if (location.MajorFunction != IRP_MJ_PNP) return Other is { } other ? other(device, irp) : Complete(irp, STATUS_SUCCESS);
        byte minor = location.MinorFunction;
        Inspect?.Invoke(irp);
        Step(Minors[minor]);
        if (Answer(minor, irp) is { } answer) return answer == STATUS_PENDING ? answer : Complete(irp, answer, irp.IoStatus.Information);
        IoSkipCurrentIrpStackLocation(irp);
        NTSTATUS status = IoCallDriver(lower, irp);
        if (minor == IRP_MN_REMOVE_DEVICE)
        {
            IoDetachDevice(lower);
            IoDeleteDevice(device);
        }
        return status;
    }

    /// <summary>The notes since the last call.</summary>
    protected string[] Noted()
    {
        string[] all = [.. Steps.Skip(read)];
        read += all.Length;
        return all;
    }

    int read;
}
