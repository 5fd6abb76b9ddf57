using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ob;

public class ObjectTypeTests : ObjectTest
{
    [Theory, MemberData(nameof(EverySchedule))]
    public void Exported_variables_point_to_the_types(Scheduling scheduling) => Run(scheduling, () =>
    {
        (POBJECT_TYPE Value, string Name, string Variable)[] expected =
        [
            (CmKeyObjectType, "Key", nameof(CmKeyObjectType)), (ExDesktopObjectType, "Desktop", nameof(ExDesktopObjectType)),
            (ExEventObjectType, "Event", nameof(ExEventObjectType)), (ExSemaphoreObjectType, "Semaphore", nameof(ExSemaphoreObjectType)),
            (ExWindowStationObjectType, "WindowStation", nameof(ExWindowStationObjectType)), (IoAdapterObjectType, "Adapter", nameof(IoAdapterObjectType)),
            (IoDeviceObjectType, "Device", nameof(IoDeviceObjectType)), (IoDriverObjectType, "Driver", nameof(IoDriverObjectType)),
            (IoFileObjectType, "File", nameof(IoFileObjectType)), (LpcPortObjectType, "ALPC Port", nameof(LpcPortObjectType)),
            (MmSectionObjectType, "Section", nameof(MmSectionObjectType)), (PsJobType, "Job", nameof(PsJobType)),
            (PsProcessType, "Process", nameof(PsProcessType)), (PsThreadType, "Thread", nameof(PsThreadType)), (SeTokenObjectType, "Token", nameof(SeTokenObjectType)),
        ];
        foreach ((POBJECT_TYPE value, string name, string variable) in expected)
        {
            Assert.Equal(name, Strings.Read(PUNICODE_STRING.To(ref value.Name)));
            Assert.True(Machine.Variables.TryFind(variable, out ulong address));
            Assert.Equal(value.Address, GuestMemory.Ref<ulong>(address)); // what a compiled driver reads through its import
            Assert.Equal("Type", Machine.Objects.TypeOf(value).Name);
        }
        Assert.Equal(expected.Length, Machine.Objects.Types.All.Count(t => t.Variable is not null));
    });

    [Fact]
    public void PsInitialSystemProcess_is_the_process_of_system_threads() => Run(() =>
    {
        Assert.Equal(Machine.Processes.System.Object, PsInitialSystemProcess);
        Assert.Equal("Process", Machine.Objects.TypeOf(PsInitialSystemProcess).Name);
    });

    [Fact]
    public void Devices_drivers_and_files_are_objects_of_their_types() => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: @"\Device\Files");
        Machine.Files.Open(@"\Device\Files", FILE_READ_DATA, 0, KernelMode, out PFILE_OBJECT file);
        foreach ((PVOID target, POBJECT_TYPE type) in new (PVOID, POBJECT_TYPE)[] { (device, IoDeviceObjectType), (DriverObject, IoDriverObjectType), (file, IoFileObjectType) })
        {
            Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByPointer(target, 0, type, UserMode));
            ObDereferenceObject(target);
        }
        Machine.Files.Close(file);
    });
}
