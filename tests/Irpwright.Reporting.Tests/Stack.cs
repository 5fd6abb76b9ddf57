using Irpwright.Guest;
using Irpwright.Guest.Images;
using Irpwright.Kernel;
using Irpwright.Testing;
using Irpwright.Wdk;

namespace Irpwright.Reporting.Tests;

/// <summary>A machine with drivers in it, and its traces.</summary>
sealed class Stack : IDisposable
{
    readonly StringWriter text = new();
    readonly StringWriter json = new();
    readonly GuestDrivers guest;
    readonly string device;
    PDEVICE_OBJECT bottom;

    public Stack(WdmDriver lowest, string device, bool colours = false)
    {
        Machine = new Machine();
        Names = new ObjectNames(Machine);
        Trace = new TextTrace(Machine, Names, text, colours);
        Machine.Events.Add(Names);
        Machine.Events.Add(Trace);
        Machine.Events.Add(new JsonTrace(Machine, Names, json));
        guest = new GuestDrivers(Machine);
        this.device = device;
        Machine.Run(() =>
        {
            Assert.Equal(NTSTATUS.STATUS_SUCCESS, Machine.Drivers.Load(lowest, lowest.GetType().Name.ToLowerInvariant(), out _));
            Assert.True(Machine.Objects.TryFind(device, out ulong address, out _));
            bottom = new PDEVICE_OBJECT(address);
        });
    }

    public Machine Machine { get; }

    public ObjectNames Names { get; }

    public TextTrace Trace { get; }

    public string Text
    {
        get
        {
            Trace.Flush();
            return text.ToString();
        }
    }

    public string Json => json.ToString();

    public Stack With(WdmDriver filter)
    {
        Machine.Run(() =>
        {
            string name = filter.GetType().Name.ToLowerInvariant();
            Assert.Equal(NTSTATUS.STATUS_SUCCESS, Machine.Drivers.Load(filter, name, out Driver? driver));
            Assert.Equal(NTSTATUS.STATUS_SUCCESS, Machine.Drivers.AddDevice(driver!, bottom));
        });
        return this;
    }

    public Stack WithCompiled(string name)
    {
        Assert.True(guest.TryRead(TestFiles.Sample(name), out DriverImage? image, out ImageDiagnostic? error), error?.ToString());
        Assert.Equal(NTSTATUS.STATUS_SUCCESS, guest.Start(image, out Driver? driver));
        Machine.Run(() => Assert.Equal(NTSTATUS.STATUS_SUCCESS, Machine.Drivers.AddDevice(driver!, bottom)));
        return this;
    }

    public Stack Use(Action<DeviceHandle> requests)
    {
        Machine.Run(() =>
        {
            using DeviceHandle handle = DeviceHandle.Open(Machine, device);
            requests(handle);
        });
        return this;
    }

    /// <summary>The text trace from the first line of an IRP until the file is closed.</summary>
    public string TextOf(string irp)
    {
        string[] lines = Text.Split('\n');
        int first = Array.FindIndex(lines, l => l.StartsWith(irp + " ", StringComparison.Ordinal));
        int next = Array.FindIndex(lines, first, l => l.Contains("IRP_MJ_CLEANUP", StringComparison.Ordinal));
        return string.Join('\n', lines[first..next]) + "\n";
    }

    public void Dispose() => Machine.Dispose();
}
