using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Io;

/// <summary>Drivers that a driver loads and unloads by service name, and second driver objects.</summary>
public sealed class DriverServicesTests : DriverTest
{
    const string Services = @"\Registry\Machine\System\CurrentControlSet\Services\";

    sealed class Second(NTSTATUS status, Action<string> step, bool unloads = true) : WdmDriver
    {
        public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
        {
            step($"entry {Strings.Read(RegistryPath)}");
            if (unloads) DriverObject.DriverUnload = Routine(new DRIVER_UNLOAD(_ => step("unload")));
            return status;
        }

        public void AddOpenDevice()
        {
            Assert.Equal(STATUS_SUCCESS, IoCreateDevice(DriverObject, 0, default, FILE_DEVICE_UNKNOWN, 0, false, out PDEVICE_OBJECT device));
            device.ReferenceCount = 1;
        }

        public void AddAddDevice() => DriverObject.DriverExtension.AddDevice = Routine(new DRIVER_ADD_DEVICE((_, _) => STATUS_SUCCESS));
    }

    /// <summary>wdmsec.lib writes the terminator of the name of the service's key.</summary>
    [Fact]
    public void The_names_in_a_driver_object_are_terminated_and_can_be_written_to() => Run(() =>
    {
        foreach (UNICODE_STRING name in new[] { DriverObject.DriverName, DriverObject.DriverExtension.ServiceKeyName })
        {
            Assert.Equal(name.Length + 2, name.MaximumLength);
            ref char terminator = ref GuestMemory.Ref<char>(name.Buffer.Address + name.Length);
            Assert.Equal('\0', terminator);
            Assert.True(GuestMemory.IsAccessible(name.Buffer.Address, name.MaximumLength, PageAccess.Write));
        }
    });

    PUNICODE_STRING Path(string service) => RTL_CONSTANT_STRING(Services + service);

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_service_is_loaded_once_and_unloaded_by_name(Scheduling scheduling) => Run(scheduling, () =>
    {
        Machine.DriverServices.Add("Second", () => new Second(STATUS_SUCCESS, Step));
        Assert.Equal(STATUS_SUCCESS, ZwLoadDriver(Path("second")));
        Assert.Equal(STATUS_IMAGE_ALREADY_LOADED, ZwLoadDriver(Path("SECOND")));
        Assert.Equal(STATUS_SUCCESS, ZwUnloadDriver(Path("second")));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ZwUnloadDriver(Path("second")));
        Assert.Equal([$"entry {Services}second", "unload"], Steps);
    });

    [Theory, MemberData(nameof(EverySchedule))]
    public void A_service_whose_DriverEntry_fails_is_not_loaded(Scheduling scheduling) => Run(scheduling, () =>
    {
        Machine.DriverServices.Add("second", () => new Second(STATUS_INSUFFICIENT_RESOURCES, Step));
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, ZwLoadDriver(Path("second")));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ZwUnloadDriver(Path("second")));
    });

    [Fact]
    public void Only_paths_of_service_keys_name_services() => Run(() =>
    {
        Machine.DriverServices.Add("second", () => new Second(STATUS_SUCCESS, Step));
        Assert.All(
            [
                Services + "other", Services, Services + @"second\Parameters", @"\Registry\Machine\Software\Services\second",
                @"\Registry\Machine\System\Setup\Services\second", "second", "",
            ],
            path => Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ZwLoadDriver(RTL_CONSTANT_STRING(path))));
        Assert.Equal(STATUS_SUCCESS, ZwLoadDriver(RTL_CONSTANT_STRING(@"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\second")));
    });

    [Fact]
    public void A_driver_without_DriverUnload_stays() => Run(() =>
    {
        Machine.DriverServices.Add("second", () => new Second(STATUS_SUCCESS, Step, unloads: false));
        Assert.Equal(STATUS_SUCCESS, ZwLoadDriver(Path("second")));
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, ZwUnloadDriver(Path("second")));
        Assert.Contains(Machine.Drivers.All, driver => driver.Name == "second");
    });

    [Fact]
    public void A_Plug_and_Play_driver_stays() => Run(() =>
    {
        var second = new Second(STATUS_SUCCESS, Step);
        Machine.DriverServices.Add("second", () => second);
        Assert.Equal(STATUS_SUCCESS, ZwLoadDriver(Path("second")));
        second.AddAddDevice();
        Assert.Equal(STATUS_INVALID_DEVICE_REQUEST, ZwUnloadDriver(Path("second")));
    });

    [Fact]
    public void Unloading_a_driver_whose_device_is_open_is_not_modelled_and_says_so()
    {
        var stop = Assert.Throws<MachineUnsupportedException>(() => Run(() =>
        {
            var second = new Second(STATUS_SUCCESS, Step);
            Machine.DriverServices.Add("second", () => second);
            ZwLoadDriver(Path("second"));
            second.AddOpenDevice();
            ZwUnloadDriver(Path("second"));
        }));
        Assert.Contains("ZwUnloadDriver was called for second while its device", stop.Message);
    }

    [Theory, MemberData(nameof(EverySchedule))]
    public void IoCreateDriver_calls_the_routine_with_a_new_driver_object_and_no_path(Scheduling scheduling) => Run(scheduling, () =>
    {
        PDRIVER_OBJECT made = default;
        PDRIVER_INITIALIZE entry = Routine(new DRIVER_INITIALIZE((driver, path) =>
        {
            made = driver;
            Step($"{Strings.Read(new PUNICODE_STRING(driver.Address + 0x38))} {path.IsNull}");
            return STATUS_SUCCESS;
        }));
        Assert.Equal(STATUS_SUCCESS, IoCreateDriver(RTL_CONSTANT_STRING(@"\Driver\Other"), entry));
        Assert.NotEqual(DriverObject, made);
        Assert.Equal(DRVO_BUILTIN_DRIVER | DRVO_INITIALIZED, made.Flags);
        Assert.Equal(STATUS_OBJECT_NAME_COLLISION, IoCreateDriver(RTL_CONSTANT_STRING(@"\Driver\other"), entry));
        IoDeleteDriver(made);
        Assert.Equal(STATUS_SUCCESS, IoCreateDriver(RTL_CONSTANT_STRING(@"\Driver\Other"), entry));
        Assert.Equal(STATUS_SUCCESS, IoCreateDriver(default, entry));
        Assert.Equal([@"\Driver\Other True", @"\Driver\Other True", @"\Driver\00000001 True"], Steps);
    });

    [Fact]
    public void IoCreateDriver_returns_the_failure_of_the_routine_and_keeps_nothing() => Run(() =>
    {
        PDRIVER_INITIALIZE entry = Routine(new DRIVER_INITIALIZE((_, _) => STATUS_UNSUCCESSFUL));
        Assert.Equal(STATUS_UNSUCCESSFUL, IoCreateDriver(RTL_CONSTANT_STRING(@"\Driver\Other"), entry));
        Assert.DoesNotContain(Machine.Drivers.All, driver => driver.Name == "Other");
    });
}
